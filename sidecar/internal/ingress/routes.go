package ingress

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"sluice/sidecar/internal/config"
)

func (in *Ingress) indexRoutes(routes []config.Route) {
	for i := range routes {
		r := &routes[i]
		if r.Prefix {
			in.prefixes = append(in.prefixes, r)
			continue
		}
		in.exact[r.Path] = r
	}
	slices.SortFunc(in.prefixes, func(a, b *config.Route) int { return len(b.Path) - len(a.Path) })
}

// route returns the webhook route of a path, nil when it is none.
func (in *Ingress) route(path string) *config.Route {
	if r := in.exact[path]; r != nil {
		return r
	}
	for _, r := range in.prefixes {
		if strings.HasPrefix(path, r.Path) {
			return r
		}
	}
	return nil
}

// maxKey bounds a lane's key, which a sender chooses.
const maxKey = 200

// lane returns the lane of a body: its source, or the source and the key that
// LANES names within it.
func (in *Ingress) lane(source string, body []byte) string {
	path := in.Config.LaneKeys[source]
	if path == "" {
		return source
	}
	key := gjson.GetBytes(body, path).String()
	if key == "" {
		return source
	}
	return source + "/" + strings.ToValidUTF8(key[:min(len(key), maxKey)], "?")
}
