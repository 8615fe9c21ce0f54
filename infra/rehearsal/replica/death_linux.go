package replica

import "syscall"

// dieWithParent has the kernel kill a container's process when this process
// dies without ending it.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
