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

// appTokens gets and caches the installation tokens of a GitHub App.
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

// A token is renewed renewBefore its end. The app's own JSON Web Token is valid for
// less than the ten minutes that GitHub allows, and from clockDrift ago.
const (
	renewBefore = 2 * time.Minute
	jwtValid    = 9 * time.Minute
	clockDrift  = time.Minute
)

func newAppTokens(c GitHub, send sendFunc) (*appTokens, error) {
	// A PEM in an environment variable often has \n in place of its line ends.
	block, _ := pem.Decode([]byte(strings.ReplaceAll(c.PrivateKey, `\n`, "\n")))
	if block == nil {
		return nil, errors.New("GITHUB_APP_PRIVATE_KEY must be a PEM block")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("GITHUB_APP_PRIVATE_KEY must be an RSA key")
		}
		var ok bool
		if key, ok = parsed.(*rsa.PrivateKey); !ok {
			return nil, errors.New("GITHUB_APP_PRIVATE_KEY must be an RSA key")
		}
	}
	return &appTokens{base: c.URL, id: c.AppID, key: key, send: send, tokens: map[string]appToken{}}, nil
}

// token returns a token for the installation that is valid for at least
// renewBefore.
func (a *appTokens) token(ctx context.Context, installation string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, ok := a.tokens[installation]; ok && time.Until(t.Expires) > renewBefore {
		return t.Token, nil
	}
	jwt, err := a.jwt(time.Now())
	if err != nil {
		return "", err
	}
	target := a.base + "/app/installations/" + url.PathEscape(installation) + "/access_tokens"
	granted, err := githubRequest(ctx, a.send, http.MethodPost, target, jwt, nil)
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

// jwt returns the JSON Web Token with which the app authenticates itself (RFC 7519,
// RS256).
func (a *appTokens) jwt(now time.Time) (string, error) {
	content, err := json.Marshal(map[string]any{
		"iat": now.Add(-clockDrift).Unix(), "exp": now.Add(jwtValid).Unix(), "iss": a.id,
	})
	if err != nil {
		return "", fmt.Errorf("encode JSON Web Token: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) +
		"." + base64.RawURLEncoding.EncodeToString(content)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign JSON Web Token: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
