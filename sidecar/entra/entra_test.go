package entra

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// platform answers as a container's identity endpoint does.
func platform(t *testing.T, client string, answer http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	t.Setenv("IDENTITY_ENDPOINT", server.URL+"/msi/token")
	t.Setenv("IDENTITY_HEADER", "header-of-this-replica")
	t.Setenv("AZURE_CLIENT_ID", client)
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
}

func TestPasswordIsTheIdentitysToken(t *testing.T) {
	asked := 0
	platform(t, "client-of-this-app", func(w http.ResponseWriter, r *http.Request) {
		asked++
		query := r.URL.Query()
		if r.Header.Get("X-IDENTITY-HEADER") != "header-of-this-replica" ||
			query.Get("client_id") != "client-of-this-app" ||
			query.Get("resource") != "https://ossrdbms-aad.database.windows.net" {
			t.Errorf("asked for %v with %v", r.URL, r.Header)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"access_token": "a-token",
			"expires_on":   strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10),
			"resource":     query.Get("resource"),
			"token_type":   "Bearer",
		})
	})
	password, err := Passwords()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := password(t.Context())
		if err != nil || got != "a-token" {
			t.Fatalf("password = %q, %v", got, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times for a token that is good for an hour", asked)
	}
}

func TestRefusalNamesItsCause(t *testing.T) {
	// Another identity: tokens are cached for the process.
	platform(t, "client-without-identity", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"statusCode":400,"message":"no such identity"}`, http.StatusBadRequest)
	})
	password, err := Passwords()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := password(t.Context()); err == nil || got != "" || !strings.Contains(err.Error(), "get database token") {
		t.Errorf("password = %q, %v", got, err)
	}
}
