// Package check has only tests: of the files for each home beside it, read by
// what reads them there, and of what they must have in common.
//
// It is a module of its own because of what it needs, Helm's engine, Kubernetes'
// types and the loader of the Compose specification, which no program of Sluice
// does: ADR 7. scripts/test runs it.
package check
