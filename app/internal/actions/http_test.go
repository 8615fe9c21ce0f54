package actions_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/app/internal/actions"
)

// taken is a request that the fake service received.
type taken struct {
	Method, Path, Body string
	Header             http.Header
}

// service starts a fake service that answers with next. got returns the requests
// that it was sent.
func service(t *testing.T, next func(n int, w http.ResponseWriter, r taken)) (url string, got func() []taken) {
	t.Helper()
	var mu sync.Mutex
	var all []taken
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		one := taken{r.Method, r.URL.RequestURI(), string(b), r.Header}
		mu.Lock()
		all = append(all, one)
		n := len(all)
		mu.Unlock()
		next(n, w, one)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []taken {
		mu.Lock()
		defer mu.Unlock()
		return append([]taken(nil), all...)
	}
}

func TestHTTPForwards(t *testing.T) {
	url, got := service(t, func(n int, w http.ResponseWriter, _ taken) {
		if n == 1 {
			w.WriteHeader(http.StatusBadGateway) // a hiccup within one attempt
			return
		}
		_, _ = w.Write([]byte("thanks"))
	})
	out, err := set(t, actions.Config{}).Run(t.Context(), hook(t, fmt.Sprintf(`http: {url: "%s/in/{{payload.n}}", headers: {X-Team: "{{source}}"}}`, url)), call(`{"n":1}`, nil))
	if err != nil || out.Status != 200 || out.Output != "thanks" {
		t.Fatalf("outcome %+v, error %v", out, err)
	}
	r := got()[1]
	if r.Method != "POST" || r.Path != "/in/1" || r.Body != `{"n":1}` {
		t.Errorf("sent %+v", r)
	}
	for name, want := range map[string]string{"X-Github-Event": "push", "Content-Type": "application/json", "Sluice-Id": "id-1", "X-Team": "github", "Connection": ""} {
		if v := r.Header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
}

func TestHTTPAnswers(t *testing.T) {
	tests := []struct {
		name   string
		status int
		header http.Header
		later  time.Duration // asked to wait
		calls  int
	}{
		{"client error", 404, nil, 0, 1},
		{"redirect", 302, http.Header{"Location": {"http://127.0.0.1:1/"}}, 0, 1},
		{"rate limit", 429, http.Header{"Retry-After": {"120"}}, 2 * time.Minute, 1},
		{"away for long", 503, http.Header{"Retry-After": {"60"}}, time.Minute, 1},
		{"used up", 403, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {fmt.Sprint(time.Now().Add(time.Hour).Unix())}}, time.Hour, 1},
		{"broken", 500, nil, 0, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, got := service(t, func(_ int, w http.ResponseWriter, _ taken) {
				for k, v := range tt.header {
					w.Header()[k] = v
				}
				w.WriteHeader(tt.status)
			})
			out, err := set(t, actions.Config{}).Run(t.Context(), hook(t, fmt.Sprintf(`http: {url: %q, body: "x"}`, url)), call(`{}`, nil))
			if err == nil || out.Status != tt.status {
				t.Errorf("outcome %+v, error %v", out, err)
			}
			var later *actions.RetryLater
			if errors.As(err, &later) != (tt.later > 0) || later != nil && (later.After > tt.later || later.After < tt.later/2) {
				t.Errorf("error %v, want to wait %s", err, tt.later)
			}
			if n := len(got()); n != tt.calls {
				t.Errorf("asked %d times, want %d", n, tt.calls)
			}
		})
	}
}

func TestHTTPPerHost(t *testing.T) {
	var now, most atomic.Int32
	release := make(chan struct{})
	url, _ := service(t, func(_ int, w http.ResponseWriter, _ taken) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		w.WriteHeader(http.StatusNoContent)
	})
	s := set(t, actions.Config{PerHost: 2})
	h := hook(t, fmt.Sprintf(`http: {url: %q, body: x}`, url))
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := s.Run(t.Context(), h, call(`{}`, nil)); err != nil {
				t.Error(err)
			}
		})
	}
	for deadline := time.Now().Add(time.Minute); now.Load() < 2 && time.Now().Before(deadline); {
		<-time.After(time.Millisecond)
	}
	close(release)
	wg.Wait()
	if most.Load() != 2 {
		t.Errorf("%d requests at a time, want 2", most.Load())
	}
}

func TestHTTPErrorKeepsAddressSecret(t *testing.T) {
	s := set(t, actions.Config{Slack: actions.Slack{WebhookURL: "http://127.0.0.1:1/services/hunter2"}})
	_, err := s.Run(t.Context(), hook(t, `slack_message: {text: hi}`), call(`{}`, nil))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

func TestGitHubApp(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	var stored atomic.Bool // the comment
	url, got := service(t, func(_ int, w http.ResponseWriter, r taken) {
		switch {
		case strings.HasSuffix(r.Path, "/access_tokens"):
			checkJWT(t, &key.PublicKey, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprintf(w, `{"token":"tok","expires_at":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339))
		case r.Header.Get("Authorization") != "Bearer tok":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodGet && !stored.Load():
			_, _ = w.Write([]byte("[]"))
		case r.Method == http.MethodGet:
			_, _ = w.Write([]byte(`[{"body":"seen\n\n\u003c!-- sluice:id-1 --\u003e"}]`))
		default:
			stored.Store(true)
			w.WriteHeader(http.StatusCreated)
		}
	})
	s := set(t, actions.Config{GitHub: actions.GitHub{URL: url, AppID: "12", PrivateKey: strings.ReplaceAll(text, "\n", `\n`)}})
	const payload = `{"installation":{"id":99},"repository":{"full_name":"o/r"},"issue":{"number":5},"after":"0123456789012345678901234567890123456789"}`
	comment := hook(t, `github_comment: {repository: "{{payload.repository.full_name}}", issue: "{{payload.issue.number}}", body: "hello {{event}}"}`)
	status := hook(t, `github_status: {repository: "o/r", sha: "{{payload.after}}", state: success, context: ci}`)

	if _, err := s.Run(t.Context(), comment, call(payload, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context(), status, call(payload, nil)); err != nil {
		t.Fatal(err)
	}
	again := call(payload, nil) // the comment is there, whatever the attempt's number
	if _, err := s.Run(t.Context(), comment, again); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range got() {
		path, _, _ := strings.Cut(r.Path, "?")
		paths = append(paths, r.Method+" "+path)
	}
	want := "POST /app/installations/99/access_tokens|GET /repos/o/r/issues/5/comments|POST /repos/o/r/issues/5/comments|" +
		"POST /repos/o/r/statuses/0123456789012345678901234567890123456789|GET /repos/o/r/issues/5/comments"
	if strings.Join(paths, "|") != want {
		t.Errorf("asked %q", paths)
	}
	if body := got()[2].Body; !strings.Contains(body, "hello push") || !strings.Contains(body, "sluice:id-1") {
		t.Errorf("comment %s", body)
	}
	bad := hook(t, `github_comment: {repository: "../{{payload.x}}", issue: "5", body: x}`)
	if _, err := s.Run(t.Context(), bad, call(payload, nil)); err == nil {
		t.Error("a repository that leaves its path was accepted")
	}
}

func checkJWT(t *testing.T, key *rsa.PublicKey, jwt string) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Errorf("JSON Web Token %q", jwt)
		return
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Error(err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature); err != nil {
		t.Error(err)
	}
}

func TestSlack(t *testing.T) {
	url, got := service(t, func(n int, w http.ResponseWriter, _ taken) {
		if n == 1 {
			_, _ = w.Write([]byte(`{"ok":true}`))
			return
		}
		_, _ = w.Write([]byte(`{"ok":false,"error":"channel_not_found"}`))
	})
	s := set(t, actions.Config{Slack: actions.Slack{URL: url, Token: "xoxb-1"}})
	h := hook(t, `slack_message: {channel: "#ops", text: "{{event}} of {{payload.who}}"}`)
	if _, err := s.Run(t.Context(), h, call(`{"who":"me"}`, nil)); err != nil {
		t.Fatal(err)
	}
	r := got()[0]
	if r.Path != "/chat.postMessage" || r.Header.Get("Authorization") != "Bearer xoxb-1" || r.Body != `{"channel":"#ops","text":"push of me"}` {
		t.Errorf("sent %+v", r)
	}
	if _, err := s.Run(t.Context(), h, call(`{"who":"me"}`, nil)); err == nil || !strings.Contains(err.Error(), "channel_not_found") {
		t.Errorf("a refusal is %v", err)
	}
	if err := set(t, actions.Config{}).Missing(h); err == nil {
		t.Error("a hook's missing token is not reported")
	}
}

// Whoever a webhook is forwarded to does not get the sender's credentials with it,
// unless the hook lists them. Signatures are not credentials.
func TestHTTPKeepsCredentials(t *testing.T) {
	url, got := service(t, func(_ int, _ http.ResponseWriter, _ taken) {})
	send := func(action string) http.Header {
		c := call(`{}`, nil)
		for _, name := range []string{"Authorization", "Cookie", "X-Gitlab-Token", "X-Api-Key", "X-Hub-Signature-256"} {
			c.Event.Header[name] = []string{"v"}
		}
		if _, err := set(t, actions.Config{}).Run(t.Context(), hook(t, action), c); err != nil {
			t.Fatal(err)
		}
		all := got()
		return all[len(all)-1].Header
	}
	plain := send(fmt.Sprintf(`http: {url: %q}`, url))
	listed := send(fmt.Sprintf(`http: {url: %q, forward: [x-gitlab-token]}`, url))
	for _, name := range []string{"Authorization", "Cookie", "X-Gitlab-Token", "X-Api-Key"} {
		if plain.Get(name) != "" {
			t.Errorf("%s was forwarded", name)
		}
		if is := listed.Get(name) != ""; is != (name == "X-Gitlab-Token") {
			t.Errorf("%s forwarded: %v, though X-Gitlab-Token is listed alone", name, is)
		}
	}
	if plain.Get("X-Hub-Signature-256") == "" {
		t.Error("the signature was not forwarded")
	}
}

// A comment whose answer is lost is not sent again before a look.
func TestGitHubCommentIsSentOnceAnAttempt(t *testing.T) {
	url, got := service(t, func(_ int, w http.ResponseWriter, r taken) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusBadGateway) // it may have been stored
			return
		}
		_, _ = w.Write([]byte("[]"))
	})
	s := set(t, actions.Config{GitHub: actions.GitHub{URL: url, Token: "t"}})
	_, err := s.Run(t.Context(), hook(t, `github_comment: {repository: o/r, issue: "1", body: hello}`), call(`{}`, nil))
	if err == nil {
		t.Error("a lost answer is no error")
	}
	var methods []string
	for _, r := range got() {
		methods = append(methods, r.Method)
	}
	if want := "GET POST"; strings.Join(methods, " ") != want {
		t.Errorf("sent %v, want %s", methods, want)
	}
}
