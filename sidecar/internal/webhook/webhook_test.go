package webhook

import (
	"testing"

	"sluice/sidecar/internal/request"
)

func TestDedupeKey(t *testing.T) {
	key := func(source, host, target, id, body string) [32]byte {
		w := Webhook{Source: source, DeliveryID: id, Head: request.NewHead("POST", target, host), Body: []byte(body)}
		k, ok := w.DedupeKey()
		if !ok {
			t.Fatalf("%q has no key", id)
		}
		return k
	}
	first := key("github", "a.test", "/gh/ci", "1", "b")
	for _, host := range []string{"a.test", "A.Test", "a.test:80", "a.test:443"} {
		if key("github", host, "/gh/ci", "1", "b") != first {
			t.Errorf("a copy for %q is not recognised", host)
		}
	}
	for what, other := range map[string][32]byte{
		"path":           key("github", "a.test", "/gh/bot", "1", "b"),
		"query":          key("github", "a.test", "/gh/ci?x=1", "1", "b"),
		"spelling":       key("github", "a.test", "/gh/c%69", "1", "b"),
		"host":           key("github", "b.test", "/gh/ci", "1", "b"),
		"port":           key("github", "a.test:8080", "/gh/ci", "1", "b"),
		"source":         key("gitlab", "a.test", "/gh/ci", "1", "b"),
		"id":             key("github", "a.test", "/gh/ci", "2", "b"),
		"body":           key("github", "a.test", "/gh/ci", "1", "c"),
		"where it parts": key("github", "a.test", "/gh/c", "i1", "b"),
	} {
		if other == first {
			t.Errorf("another %s is taken for a copy", what)
		}
	}
	if _, ok := (&Webhook{Source: "github", Body: []byte("x")}).DedupeKey(); ok {
		t.Error("a webhook without a delivery id has a key")
	}
}
