// Package examples holds the apps of docs/bring-your-own-app.md, each in a
// directory of its own, and the test that runs them behind the sidecar. Nothing
// imports it.
package examples
