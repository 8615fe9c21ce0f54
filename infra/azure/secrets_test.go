package azure

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// secretName matches a variable whose value nobody but the vault may know.
var secretName = regexp.MustCompile(`SECRET|TOKEN|PASSWORD|_KEY$`)

// defined fails unless the app has a secret of that name, from the vault.
func defined(t *testing.T, app containerApp, name string) {
	t.Helper()
	for _, s := range value[[]any](t, app.spec, "configuration", "secrets") {
		if s.(map[string]any)["name"] == name {
			return
		}
	}
	t.Errorf("secretRef %q is not defined", name)
}

func TestSecretsComeFromTheVault(t *testing.T) {
	eachApp(t, func(t *testing.T, app containerApp) {
		identities := value[[]any](t, app.spec, "configuration", "registries")
		for _, s := range append(value[[]any](t, app.spec, "configuration", "secrets"), identities...) {
			entry := s.(map[string]any)
			if ref, ok := entry["passwordSecretRef"].(string); ok {
				defined(t, app, ref) // a registry that asks for a password
				continue
			}
			if entry["value"] != nil || !strings.Contains(value[string](t, entry, "identity"), "userAssignedIdentities/") {
				t.Errorf("%v is not read with the user-assigned identity", entry["name"])
			}
		}
		for _, name := range []string{"app", "sidecar"} {
			for variable, entry := range env(t, app.container(t, name)) {
				if ref, ok := entry["secretRef"].(string); ok {
					defined(t, app, ref)
					continue
				}
				plain := value[string](t, entry, "value")
				if secretName.MatchString(variable) {
					t.Errorf("%s of %s is a plain value", variable, name)
				}
				if variable == "DATABASE_URL" && strings.Contains(plain, "postgres://{0}:") {
					t.Errorf("DATABASE_URL of %s carries a password", name)
				}
			}
		}
	})
}

// The compiled template is searched, so that also what no parameter file shows
// is held.
func TestNoOutputGivesASecretAway(t *testing.T) {
	var outputs []string
	var walk func(node any)
	walk = func(node any) {
		switch n := node.(type) {
		case map[string]any:
			if out, ok := n["outputs"].(map[string]any); ok {
				for name, o := range out {
					text, err := json.Marshal(o)
					if err != nil {
						t.Fatal(err)
					}
					outputs = append(outputs, name+" "+string(text))
				}
			}
			for _, child := range n {
				walk(child)
			}
		case []any:
			for _, child := range n {
				walk(child)
			}
		}
	}
	walk(readJSON(t, compiled))
	if len(outputs) < 8 {
		t.Fatalf("only %d outputs found", len(outputs))
	}
	bad := regexp.MustCompile(`(?i)securestring|secureobject|listkeys|password|secretValues`)
	for _, o := range outputs {
		if bad.MatchString(o) {
			t.Errorf("output %s", o)
		}
	}
}

func TestSecretParametersAreSecure(t *testing.T) {
	for name, p := range value[map[string]any](t, readJSON(t, compiled), "parameters") {
		kind, _ := p.(map[string]any)["type"].(string) // a type of our own is a reference
		secure := strings.HasPrefix(strings.ToLower(kind), "secure")
		if secretParameter := name == "databasePassword" || name == "scalerPassword" || name == "secretValues"; secure != secretParameter {
			t.Errorf("parameter %s: secure is %v", name, secure)
		}
	}
}

// Every variable that the template sets is one that the binary reads.
func TestVariablesAreKnownToTheBinaries(t *testing.T) {
	both := slices.Concat(tags(t, root+"/sidecar/settings"), literals(t, root+"/sidecar/senders"), literals(t, root+"/sidecar/routes"), secretsOfSchemes(t))
	known := map[string][]string{
		"sidecar": slices.Concat(tags(t, root+"/sidecar/internal/config"), both),
		"app":     slices.Concat(tags(t, root+"/app/internal/config"), both),
	}
	for name, variables := range known {
		// Package entra, by way of Azure's own library, reads this one.
		if slices.Contains(variables, "DATABASE_AUTH") {
			known[name] = append(variables, "AZURE_CLIENT_ID")
		}
	}
	eachApp(t, func(t *testing.T, app containerApp) {
		for name, variables := range known {
			for variable := range env(t, app.container(t, name)) {
				if !slices.Contains(variables, variable) {
					t.Errorf("%s does not read %s", name, variable)
				}
			}
		}
	})
}

// tags returns the variables in the envconfig tags of a package's structs.
func tags(t *testing.T, dir string) []string {
	var names []string
	inspect(t, dir, func(n ast.Node) {
		field, ok := n.(*ast.Field)
		if !ok || field.Tag == nil {
			return
		}
		tag, err := strconv.Unquote(field.Tag.Value)
		if err != nil {
			t.Fatal(err)
		}
		if name := reflect.StructTag(tag).Get("envconfig"); name != "" {
			names = append(names, name)
		}
	})
	if len(names) < 5 {
		t.Fatalf("only %d variables in %s", len(names), dir)
	}
	return names
}

// secretsOfSchemes returns the secrets of the senders that are declared, not written.
func secretsOfSchemes(t *testing.T) []string {
	text, err := os.ReadFile(root + "/sidecar/senders/schemes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^ +secret: ([A-Z0-9_]+)$`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	return names
}

// literals returns the variables that a package names in its text.
func literals(t *testing.T, dir string) []string {
	variable := regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$`)
	var names []string
	inspect(t, dir, func(n ast.Node) {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil && variable.MatchString(text) {
				names = append(names, text)
			}
		}
	})
	return names
}

func inspect(t *testing.T, dir string, visit func(ast.Node)) {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go file in %s (%v)", dir, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool { visit(n); return true })
	}
}

// scripts/scan leaves out KICS' rule for passwords in texts (.github/kics.yaml),
// which takes every expression for one. This one knows an expression.
func TestNoPasswordInTemplates(t *testing.T) {
	literal := regexp.MustCompile(`(?i)(password|secret|token|key)['\w]*\s*[:=]\s*'[^'$/]*\d[^'$/]*'`)
	if !literal.MatchString("administratorLoginPassword: 'hunter2'") {
		t.Fatal("a password would not be found")
	}
	files, err := filepath.Glob(root + "/bicep/*.bicep*")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Glob(root + "/bicep/modules/*.bicep")
	if err != nil || len(files) < 4 || len(modules) < 4 {
		t.Fatalf("%d and %d templates (%v)", len(files), len(modules), err)
	}
	for _, file := range append(files, modules...) {
		for n, line := range strings.Split(string(readFile(t, file)), "\n") {
			if m := literal.FindString(line); m != "" {
				t.Errorf("%s:%d: a literal secret: %s", file, n+1, m)
			}
		}
	}
}
