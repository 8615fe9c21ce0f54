package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/sidecar/senders"
)

// senders runs `sidecar senders` with arguments and returns what it prints.
func runSenders(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := sendersCmd()
	c.SilenceErrors, c.SilenceUsage = true, true
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

const circleciSignature = "circleci-signature: v1=734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a"

func TestSendersTest(t *testing.T) {
	const secret = "a secret that stays here"
	t.Setenv("RIGHT", "secret")
	t.Setenv("WRONG", secret)
	t.Setenv("SPACED", " secret\n")
	t.Setenv("LIST", "new,secret")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	body, ended := write("body", "hello world"), write("ended", "hello world\n")
	own := write("own.yaml", "routes: []\nsenders:\n  acme: {signature: {from: header:circleci-signature, prefix: v1=}, encoding: base64}\n")
	tests := []struct {
		name     string
		args     []string
		verified bool
		want     string // in what is printed
	}{
		{"right", []string{"circleci", "--secret-env", "RIGHT", "--body", body}, true, "verified"},
		{"second secret", []string{"circleci", "--secret-env", "WRONG", "--secret-env", "RIGHT", "--body", body}, true, "verified"},
		{"wrong", []string{"circleci", "--secret-env", "WRONG", "--body", body}, false, "differs from character 1"},
		{"line break", []string{"circleci", "--secret-env", "RIGHT", "--body", ended}, false, "hint: the signature is that of the body without the line break"},
		{"white space", []string{"circleci", "--secret-env", "SPACED", "--body", body}, false, "hint: the secret has white space"},
		{"list", []string{"circleci", "--secret-env", "LIST", "--body", body}, false, "hint: the secret is a list with commas"},
		{"encoding of an own scheme", []string{"acme", "--file", own, "--secret-env", "RIGHT", "--body", body}, false, "hint: the signature is right in hex: set encoding"},
		{"by code", []string{"twilio", "--secret-env", "RIGHT", "--body", body}, false, "no X-Twilio-Signature"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"test"}, append(tt.args, "--header", circleciSignature)...)
			out, err := runSenders(t, args...)
			if verified := err == nil; verified != tt.verified || !verified && !errors.Is(err, exit(exitFailed)) {
				t.Errorf("%v", err)
			}
			if !strings.Contains(out, tt.want) {
				t.Errorf("lacks %q:\n%s", tt.want, out)
			}
			if strings.Contains(out, secret) || strings.Contains(out, "734cc62f32841568f45715ae") {
				t.Errorf("a secret or a whole signature is printed:\n%s", out)
			}
			out, _ = runSenders(t, append(args, "--output", "json")...)
			var e senders.Explanation
			if err := json.Unmarshal([]byte(out), &e); err != nil || e.Verified != tt.verified || len(e.Checks) == 0 {
				t.Errorf("as JSON: %v\n%s", err, out)
			}
		})
	}
}

// What show prints is what a routes file takes.
func TestSendersShowCanBeUsed(t *testing.T) {
	for _, name := range senders.Names() {
		for _, output := range []string{"table", "json"} {
			if _, declared := senders.Declared(name); !declared {
				continue
			}
			out, err := runSenders(t, "show", name, "--output", output)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			schemes, err := senders.ParseSchemes([]byte(out))
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
			if _, err := schemes[name].Compile(name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestSendersWrongUse(t *testing.T) {
	t.Setenv("EMPTY", "")
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("acme: {signature: nowhere, mac: md5}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"test", "circleci", "--secret-env", "EMPTY"}, {"test", "nobody", "--secret-env", "EMPTY"}, {"show", "nobody"},
		{"list", "--output", "xml"}, {"list", "--file", bad}, {"test", "circleci", "--secret-env", "PATH", "--header", "no colon"},
	} {
		if out, err := runSenders(t, args...); err == nil {
			t.Errorf("%v: accepted\n%s", args, out)
		}
	}
	if out, err := runSenders(t, "list"); err != nil || strings.Count(out, "\n") != len(senders.Names())+1 {
		t.Errorf("list: %v\n%s", err, out)
	}
}
