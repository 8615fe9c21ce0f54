package config

import (
	"errors"
	"fmt"
	"strings"

	"sluice/sidecar/senders"
)

// parseLanes reads a list of SENDER:JSON.PATH, separated by commas.
func parseLanes(text string) (map[string]string, error) {
	keys := map[string]string{}
	var problems []error
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		source, path, ok := strings.Cut(item, ":")
		if _, err := senders.Lookup(source); !ok || path == "" || err != nil {
			problems = append(problems, fmt.Errorf("LANES must be a list of SENDER:JSON.PATH, the sender one of %s; it has %q", strings.Join(senders.Names(), ", "), item))
			continue
		}
		keys[source] = path
	}
	return keys, errors.Join(problems...)
}
