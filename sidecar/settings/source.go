package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecretFile bounds a mounted secret. A private key has a few kilobytes.
const maxSecretFile = 1 << 20

// given is the text of a setting, before it is read as a type.
type given struct {
	text string
	from Origin
	file string
	// derived says that the text was made of another variable.
	derived bool
}

// LookupSecret returns the secret in the variable, or in the file that NAME_FILE
// names; it is empty where neither is set.
func LookupSecret(name string) (Secret, error) {
	g, err := lookupSecret(name)
	return NewSecret(g.text), err
}

// Text returns the variable's text, or its default. It is for flags that stand
// in for a setting; what they are given is checked by whoever uses it.
func (t Table) Text(name string) string {
	if g := lookup(name); g.from == Environment {
		return g.text
	}
	s, _ := t.find(name)
	return s.Default
}

func lookup(name string) given {
	if text := os.Getenv(name); text != "" {
		return given{text: text, from: Environment}
	}
	return given{from: Default}
}

func lookupSecret(name string) (given, error) {
	g := lookup(name)
	file := os.Getenv(name + "_FILE")
	switch {
	case file == "":
		return g, nil
	case g.from == Environment:
		return g, fmt.Errorf("%s and %s_FILE are both set; unset one of them", name, name)
	}
	g = given{from: File, file: file}
	text, err := readSecret(file)
	if err != nil {
		return g, fmt.Errorf("%s_FILE must name a readable file with the secret; it is %q: %w", name, file, err)
	}
	g.text = text
	return g, nil
}

// SecretFile returns the secret in a file, without newlines at its end.
func SecretFile(path string) (string, error) { return readSecret(path) }

// readSecret refuses an empty file: who names a file means to have a secret,
// and without one webhooks would go unverified.
func readSecret(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", reason(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch secret := strings.TrimRight(string(text), "\r\n"); {
	case err != nil:
		return "", reason(err)
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("the file is larger than %d bytes", maxSecretFile)
	case secret == "":
		return "", errors.New("the file is empty")
	default:
		return secret, nil
	}
}
