package settings

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// sample has a setting of each kind.
type sample struct {
	Size    int64         `envconfig:"SAMPLE_SIZE"`
	Port    int           `envconfig:"SAMPLE_PORT"`
	Wait    time.Duration `envconfig:"SAMPLE_WAIT"`
	Keep    time.Duration `envconfig:"SAMPLE_KEEP"`
	Mode    string        `envconfig:"SAMPLE_MODE"`
	Address string        `envconfig:"SAMPLE_ADDRESS"`
	Need    Secret        `envconfig:"SAMPLE_NEED"`
	Key     Secret        `envconfig:"SAMPLE_KEY"`
	On      bool          `envconfig:"SAMPLE_ON"`

	Derived string
}

var sampleTable = Table{
	{Name: "SAMPLE_SIZE", Default: "1048576", Unit: "bytes", Min: "1", Group: "G", Meaning: "m"},
	{Name: "SAMPLE_PORT", Default: "80", Min: "0", Max: "65535", Group: "G", Meaning: "m"},
	{Name: "SAMPLE_WAIT", Default: "1s", Above: "0s", Group: "G", Meaning: "m"},
	{Name: "SAMPLE_KEEP", Default: "168h", Min: "24h", Group: "G", Meaning: "m"},
	{Name: "SAMPLE_MODE", Default: "lane", OneOf: []string{"lane", "strict", "none"}, Group: "G", Meaning: "m"},
	{Name: "SAMPLE_ADDRESS", Unset: "everywhere", Allowed: "host:port", Valid: func(s string) bool { return strings.Contains(s, ":") }, Group: "G", Meaning: "m"},
	{Name: "SAMPLE_NEED", Required: true, Allowed: "a URL", Group: "G", Meaning: "m"},
	{Name: "SAMPLE_KEY", Allowed: "a key in hexadecimal", Valid: func(s string) bool { return s != "bad-key" }, Group: "G", Meaning: "m"},
	{Name: "SAMPLE_ON", Default: "false", Group: "G", Meaning: "m"},
}

// read gives the test these variables and no others of the sample.
func read(t *testing.T, environment map[string]string) (sample, *Reader) {
	t.Helper()
	for _, s := range sampleTable {
		for _, name := range []string{s.Name, s.Name + "_FILE"} {
			t.Setenv(name, "") // remembers what was there
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, value := range environment {
		t.Setenv(name, value)
	}
	var s sample
	r := NewReader(&s, sampleTable)
	r.Read()
	return s, r
}

func TestDefaults(t *testing.T) {
	s, r := read(t, map[string]string{"SAMPLE_NEED": "x"})
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	want := sample{Size: 1 << 20, Port: 80, Wait: time.Second, Keep: 168 * time.Hour, Mode: "lane", Need: s.Need}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("the defaults are %+v, want %+v", s, want)
	}
}

// A variable that is set to nothing, as compose files do, counts as unset.
func TestEmptyIsUnset(t *testing.T) {
	environment := map[string]string{}
	for _, s := range sampleTable {
		environment[s.Name], environment[s.Name+"_FILE"] = "", ""
	}
	s, r := read(t, environment)
	if err := r.Err(); err == nil || err.Error() != "SAMPLE_NEED is required; set it to a URL" {
		t.Errorf("the error is %v", err)
	}
	if s.Size != 1<<20 || s.Mode != "lane" || s.Key.IsSet() || s.Keep != 168*time.Hour {
		t.Errorf("read %+v", s)
	}
	for _, v := range r.Values() {
		if v.From != Default {
			t.Errorf("%s comes from %s", v.Name, v.From)
		}
	}
}

// Each problem says what is allowed, what the value is and what to do.
func TestEveryProblemAtOnce(t *testing.T) {
	_, r := read(t, map[string]string{
		"SAMPLE_SIZE": "25MB", "SAMPLE_PORT": "65536", "SAMPLE_WAIT": "0s", "SAMPLE_KEEP": "7d",
		"SAMPLE_MODE": "foo", "SAMPLE_ADDRESS": "8080", "SAMPLE_KEY": "bad-key", "SAMPLE_ON": "perhaps",
	})
	want := Problems{
		`SAMPLE_SIZE must be a whole number of bytes, at least 1; it is "25MB" (leave it unset for 1048576)`,
		`SAMPLE_PORT must be a whole number between 0 and 65535; it is "65536" (leave it unset for 80)`,
		`SAMPLE_WAIT must be a duration such as 250ms, 5m or 168h, above 0s; it is "0s" (leave it unset for 1s)`,
		`SAMPLE_KEEP must be a duration such as 250ms, 5m or 168h, at least 24h; it is "7d" (leave it unset for 168h)`,
		`SAMPLE_MODE must be lane, strict or none; it is "foo" (leave it unset for lane)`,
		`SAMPLE_ADDRESS must be host:port; it is "8080" (or leave it unset)`,
		`SAMPLE_NEED is required; set it to a URL`,
		`SAMPLE_KEY must be a key in hexadecimal; its value is not shown`,
		`SAMPLE_ON must be true or false; it is "perhaps" (leave it unset for false)`,
	}
	var problems Problems
	if !errors.As(r.Err(), &problems) || !slices.Equal(problems, want) {
		t.Errorf("the problems are\n%v\nwant\n%v", r.Err(), want)
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name, value string
		ok          bool
	}{
		{"SAMPLE_SIZE", "1", true}, {"SAMPLE_SIZE", "0", false}, {"SAMPLE_SIZE", "-1", false}, {"SAMPLE_SIZE", "9223372036854775808", false},
		{"SAMPLE_PORT", "0", true}, {"SAMPLE_PORT", "65535", true}, {"SAMPLE_PORT", "-1", false}, {"SAMPLE_PORT", "1.5", false},
		{"SAMPLE_WAIT", "1ns", true}, {"SAMPLE_WAIT", "-1s", false}, {"SAMPLE_KEEP", "24h", true}, {"SAMPLE_KEEP", "23h59m", false},
		{"SAMPLE_MODE", "strict", true}, {"SAMPLE_MODE", "Lane", false}, {"SAMPLE_MODE", "lane ", false}, {"SAMPLE_MODE", " ", false},
	} {
		_, r := read(t, map[string]string{"SAMPLE_NEED": "x", c.name: c.value})
		if (r.Err() == nil) != c.ok {
			t.Errorf("%s=%s: %v, want ok=%v", c.name, c.value, r.Err(), c.ok)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSecretFromFile(t *testing.T) {
	for text, want := range map[string]string{
		"hunter2": "hunter2", "hunter2\n": "hunter2", "hunter2\r\n": "hunter2", " hunter2 \n": " hunter2 ",
		"-----BEGIN\nabc\n-----END\n": "-----BEGIN\nabc\n-----END", "a\"b`c\x00\xff": "a\"b`c\x00\xff",
	} {
		s, r := read(t, map[string]string{"SAMPLE_NEED_FILE": write(t, text)})
		if err := r.Err(); err != nil || s.Need.Reveal() != want {
			t.Errorf("%q is read as %q, %v", text, s.Need.Reveal(), err)
		}
	}
}

func TestSecretFilesThatAreRefused(t *testing.T) {
	good := write(t, "hunter2")
	for _, c := range []struct {
		environment map[string]string
		want        string
	}{
		{map[string]string{"SAMPLE_NEED": "hunter2", "SAMPLE_NEED_FILE": good}, "SAMPLE_NEED and SAMPLE_NEED_FILE are both set; unset one of them"},
		{map[string]string{"SAMPLE_NEED_FILE": "/nowhere/at/all"}, `SAMPLE_NEED_FILE must name a readable file with the secret; it is "/nowhere/at/all": no such file or directory`},
		{map[string]string{"SAMPLE_NEED_FILE": write(t, "\n")}, "the file is empty"},
		{map[string]string{"SAMPLE_NEED_FILE": t.TempDir()}, "is a directory"},
		{map[string]string{"SAMPLE_NEED_FILE": write(t, strings.Repeat("x", maxSecretFile+1))}, "larger than 1048576 bytes"},
		{map[string]string{"SAMPLE_NEED": "x", "SAMPLE_KEY_FILE": write(t, "bad-key")}, "its value is not shown"},
	} {
		_, r := read(t, c.environment)
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: the error is %v, want %s", c.environment, err, c.want)
		} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "bad-key") {
			t.Errorf("a secret is in %v", err)
		}
	}
}

// Only a secret has a file beside it: HOOKS_FILE is a setting of its own.
func TestOnlySecretsHaveFiles(t *testing.T) {
	s, r := read(t, map[string]string{"SAMPLE_NEED": "x", "SAMPLE_MODE_FILE": write(t, "strict")})
	if r.Err() != nil || s.Mode != "lane" {
		t.Errorf("the mode is %s, %v", s.Mode, r.Err())
	}
}

func TestSendersSecrets(t *testing.T) {
	_, r := read(t, map[string]string{"SAMPLE_NEED": "x", "A_SECRET": "hunter2", "B_SECRET_FILE": write(t, "hunter3\n"), "C_SECRET": "x", "C_SECRET_FILE": "y"})
	if a, b := r.Secret("A_SECRET"), r.Secret("B_SECRET"); a != "hunter2" || b != "hunter3" {
		t.Errorf("read %q and %q", a, b)
	}
	r.Secret("C_SECRET")
	r.Secret("C_SECRET") // two routes have one sender
	if err := r.Err(); err == nil || err.Error() != "C_SECRET and C_SECRET_FILE are both set; unset one of them" {
		t.Errorf("the error is %v", err)
	}
	if values := r.Values(); len(values) != len(sampleTable)+3 || values[len(sampleTable)].Value != "***" {
		t.Errorf("the values are %v", values)
	}
	if s, err := LookupSecret("B_SECRET"); err != nil || s.Reveal() != "hunter3" {
		t.Errorf("looked up %v", err)
	}
}

func TestRejectSaysOneThingOfASetting(t *testing.T) {
	_, r := read(t, map[string]string{"SAMPLE_NEED": "x", "SAMPLE_PORT": "x", "SAMPLE_SIZE": "5"})
	r.Reject("SAMPLE_PORT", "must be even")
	r.Reject("SAMPLE_SIZE", "must be at least twice %d", 7)
	r.Reject("SAMPLE_WAIT", "must be shorter")
	want := Problems{
		`SAMPLE_PORT must be a whole number between 0 and 65535; it is "x" (leave it unset for 80)`,
		`SAMPLE_SIZE must be at least twice 7; it is "5" (leave it unset for 1048576)`,
		`SAMPLE_WAIT must be shorter; it is "1s" by default, so set it`,
	}
	var problems Problems
	if !errors.As(r.Err(), &problems) || !slices.Equal(problems, want) {
		t.Errorf("the problems are\n%v\nwant\n%v", r.Err(), want)
	}
}

// A description that is missing or cannot hold stops the program.
func TestFaultyDescriptions(t *testing.T) {
	var s struct {
		Size int64 `envconfig:"SAMPLE_SIZE"`
	}
	for _, table := range []Table{
		{}, {{Name: "SAMPLE_SIZE", Min: "one", Meaning: "m"}}, {{Name: "SAMPLE_SIZE", Max: "1s", Meaning: "m"}}, {{Name: "SAMPLE_SIZE"}},
	} {
		if err := NewReader(&s, table).Err(); err == nil || !strings.Contains(err.Error(), "a fault of the program") {
			t.Errorf("%+v: the error is %v", table, err)
		}
	}
	var text struct {
		Mode string `envconfig:"SAMPLE_MODE"`
	}
	if NewReader(&text, Table{{Name: "SAMPLE_MODE", Meaning: "m"}}).Err() == nil {
		t.Error("a text without words for what is allowed is taken")
	}
}
