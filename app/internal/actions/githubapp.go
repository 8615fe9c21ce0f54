package actions

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// appTokens gets and keeps the installation tokens of a GitHub App.
type appTokens struct {
	base string
	id   string
	key  *rsa.PrivateKey
	send sendFunc

	mu     sync.Mutex // held while asking, so that a token is asked for once
	tokens map[string]appToken
}

type appToken struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires_at"`
}

// A token is renewed this long before it ends; the app's own claim lasts for
// less than the ten minutes that GitHub allows.
const (
	renewBefore = 2 * time.Minute
	claimLength = 9 * time.Minute
	clockDrift  = time.Minute
)

func newAppTokens(c GitHub, send sendFunc) (*appTokens, error) {
	// A PEM in an environment variable often has its line ends spelled out.
	block, _ := pem.Decode([]byte(strings.ReplaceAll(c.PrivateKey, `\n`, "\n")))
	if block == nil {
		return nil, errors.New("GITHUB_APP_PRIVATE_KEY is not a PEM block")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("GITHUB_APP_PRIVATE_KEY is not an RSA key")
		}
		var ok bool
		if key, ok = parsed.(*rsa.PrivateKey); !ok {
			return nil, errors.New("GITHUB_APP_PRIVATE_KEY is not an RSA key")
		}
	}
	return &appTokens{base: c.URL, id: c.AppID, key: key, send: send, tokens: map[string]appToken{}}, nil
}

// token returns a token for the installation that is good for a while.
func (a *appTokens) token(ctx context.Context, installation string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, ok := a.tokens[installation]; ok && time.Until(t.Expires) > renewBefore {
		return t.Token, nil
	}
	claim, err := a.claim(time.Now())
	if err != nil {
		return "", err
	}
	target := a.base + "/app/installations/" + url.PathEscape(installation) + "/access_tokens"
	granted, err := githubRequest(ctx, a.send, http.MethodPost, target, claim, nil)
	if err != nil {
		return "", fmt.Errorf("get installation token: %w", err)
	}
	var t appToken
	if err := json.Unmarshal(granted.body, &t); err != nil || t.Token == "" {
		return "", errors.New("get installation token: unreadable answer")
	}
	a.tokens[installation] = t
	return t.Token, nil
}

// claim is the JSON Web Token by which the app says who it is (RFC 7519,
// RS256).
func (a *appTokens) claim(now time.Time) (string, error) {
	content, err := json.Marshal(map[string]any{
		"iat": now.Add(-clockDrift).Unix(), "exp": now.Add(claimLength).Unix(), "iss": a.id,
	})
	if err != nil {
		return "", fmt.Errorf("encode claim: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) +
		"." + base64.RawURLEncoding.EncodeToString(content)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign claim: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
