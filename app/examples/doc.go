// Package examples holds the apps of docs/bring-your-own-app.md, one directory
// each, and the test that runs them behind the sidecar.
package examples
