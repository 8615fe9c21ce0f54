package postgres

import "syscall"

// dieWithParent has the kernel end the server at once when its parent dies
// without ending it.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
