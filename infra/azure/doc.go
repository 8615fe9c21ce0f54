// Package azure holds no code, only the tests of what the repository has for
// Azure: the template in bicep/, the scripts that deploy it and the images.
//
// The compiler knows property names and types but none of the service's
// limits, so the limits are held here, over the template as it would be
// deployed with each parameter file (the committed snapshots).
//
// After a change to the template, `go test ./azure -update` writes the compiled
// template and the snapshots anew; their difference is what a reviewer reads.
package azure
