package azure

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// scanned are the images that the registry's scanner finds in a Dockerfile.
type scanned struct{ runtime, buildtime []string }

// scanDockerfile has the rules of the registry's build service, which scans a
// Dockerfile before it builds (Azure/acr-builder, scan/dependencies.go at
// 90b22f3, resolveDockerfileDependencies; Azure/acr issue 697): in a FROM line
// the second word is the image and the third, if there is one, must be AS.
func scanDockerfile(text string, buildArgs []string) (found scanned, err error) {
	values := map[string]string{}
	for _, arg := range buildArgs {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return found, fmt.Errorf("%s cannot be split into 2 tokens with '='", arg)
		}
		values[name] = value
	}
	aliases, origin := map[string]bool{}, ""
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch strings.ToUpper(words[0]) {
		case "ARG":
			if len(words) < 2 {
				return found, fmt.Errorf("dockerfile syntax requires ARG directive to have exactly 1 argument. LINE: %s", line)
			}
			// Only the first word counts, and the first value stays.
			if name, value, ok := strings.Cut(words[1], "="); ok {
				if _, given := values[name]; !given {
					values[name] = strings.Trim(value, `"'`)
				}
			}
		case "FROM":
			if len(words) < 2 || len(words) > 2 && (len(words) < 4 || !strings.EqualFold(words[2], "as")) {
				return found, fmt.Errorf("unable to understand line %s", strings.TrimSpace(line))
			}
			// Plain variables only: a default as in ${A:-b} is looked up as a name.
			image := os.Expand(strings.Trim(words[1], `"'`), func(name string) string { return values[name] })
			if origin = image; !aliases[image] {
				found.buildtime = append(found.buildtime, image)
			}
			if len(words) > 2 {
				aliases[words[3]] = true
			}
		}
	}
	if len(found.buildtime) == 0 {
		return found, fmt.Errorf("unexpected dockerfile format")
	}
	found.runtime = []string{origin}
	return found, nil
}

func TestRegistryScannerReadsTheDockerfiles(t *testing.T) {
	for _, file := range []string{"Dockerfile.app", "Dockerfile.sidecar"} {
		found, err := scanDockerfile(string(readFile(t, root+"/"+file)), []string{"VERSION=abc", "REVISION=abc"})
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, image := range found.buildtime {
			if image == "scratch" {
				continue
			}
			// Anonymous pulls from Docker Hub are limited (docs.docker.com/docker-hub/usage/pulls;
			// seen in `az acr build`: Azure-Samples/azure-search-openai-demo issue 3101).
			registry, _, named := strings.Cut(image, "/")
			if !named || !strings.Contains(registry, ".") || strings.HasSuffix(registry, "docker.io") {
				t.Errorf("%s pulls %s from Docker Hub, which limits anonymous pulls", file, image)
			}
			if !strings.Contains(image, "@sha256:") {
				t.Errorf("%s does not pin %s by digest", file, image)
			}
		}
	}
}

// The scanner of these tests is as strict as the registry's.
func TestRegistryScannerIsStrict(t *testing.T) {
	for text, want := range map[string]string{
		"FROM --platform=linux/amd64 golang AS build\n": "unable to understand line",
		"FROM golang build\n":                           "unable to understand line",
		"FROM\n":                                        "unable to understand line",
		"ARG\nFROM golang\n":                            "requires ARG directive",
		"RUN true\n":                                    "unexpected dockerfile format",
		"ARG A=golang\nFROM ${A} as build\nFROM scratch\n":       "",
		"\ufeff# comment\nFROM \"golang\" AS b\nFROM b\nRUN x\n": "",
	} {
		_, err := scanDockerfile(text, nil)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
