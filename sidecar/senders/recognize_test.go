package senders

import (
	"net/http"
	"slices"
	"testing"
)

// What a vendor's own library has made is known for that vendor's, where it has
// a mark at all.
func TestVectorsAreRecognized(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Name == "github documentation" {
			continue // a signature alone, as Meta's
		}
		traits := v.sender(t).Traits()
		got, ok := Recognize(v.request().Header)
		switch {
		case len(traits.Marks) == 0 && ok && v.Sender != "generic":
			t.Errorf("%s is taken for %s's", v.Name, got)
		case len(traits.Marks) > 0 && ok && got != v.Sender:
			t.Errorf("%s is taken for %s's, not %s's", v.Name, got, v.Sender)
		case len(traits.Marks) > 0 && !ok && v.Sender != "cloudevents": // structured: its fields are in the body
			t.Errorf("%s is not recognized", v.Name)
		}
	}
}

func TestRecognize(t *testing.T) {
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{nil, ""},
		{[]string{"Content-Type", "User-Agent", "Webhook-Id"}, ""},
		{[]string{"X-GitHub-Event", "X-Hub-Signature-256"}, "github"},
		{[]string{"X-Hub-Signature-256"}, "meta"},
		{[]string{"X-Gitlab-Event", "Webhook-Signature"}, "gitlab"},
		{[]string{"Webhook-Signature"}, "standard"},
		{[]string{"Svix-Signature"}, "standard"},
		{[]string{"Ce-Specversion", "Aeg-Event-Type"}, "eventgrid"},
		{[]string{"Ce-Specversion"}, "cloudevents"},
		{[]string{"Stripe-Signature"}, "stripe"},
		{[]string{"X-Slack-Signature"}, "slack"},
		{[]string{"X-Twilio-Signature"}, "twilio"},
		{[]string{"X-Shopify-Hmac-Sha256"}, "shopify"},
		{[]string{"X-Zm-Signature"}, "zoom"},
		{[]string{"X-Signature-Ed25519"}, "discord"},
		{[]string{"X-Gitea-Event", "X-GitHub-Event", "X-Hub-Signature-256"}, "gitea"},
		{[]string{"X-PagerDuty-Signature"}, "pagerduty"},
	} {
		h := http.Header{}
		for _, field := range c.fields {
			h.Set(field, "x")
		}
		if got, ok := Recognize(h); got != c.want || ok != (c.want != "") {
			t.Errorf("%v: %q, want %q", c.fields, got, c.want)
		}
	}
	for _, name := range Names() {
		s, _ := Lookup(name)
		if len(s.Traits().Marks) == 0 && !slices.Contains([]string{"generic", "graph", "intercom"}, name) {
			t.Errorf("%s has no mark", name)
		}
	}
}
