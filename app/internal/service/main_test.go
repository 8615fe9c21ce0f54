package service_test

import (
	"testing"

	"sluice/infra/testkit"
)

// program is the app's main package. It is built with the race detector when the
// tests are.
const program = "sluice/app/cmd/app"

func TestMain(m *testing.M) { testkit.Main(m) }
