package buffer

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"testing"

	"sluice/infra/testkit"
)

// A password that is asked for takes the place of the URL's, for every new
// connection.
func TestPasswordIsAskedForWithEachConnection(t *testing.T) {
	base := testkit.Database(t)
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	good, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	var asked atomic.Int64
	s := open(t, u.String(), func(c *Config) {
		c.Password = func(context.Context) (string, error) {
			asked.Add(1)
			return good, nil
		}
	})
	mustAppend(t, s, hook("github", 1))
	if asked.Load() == 0 {
		t.Error("the password was never asked for")
	}

	refused := errors.New("no token")
	s = openOnly(t, base, func(c *Config) {
		c.AppendTimeout = 200e6
		c.Password = func(context.Context) (string, error) { return "", refused }
	})
	if _, err := s.Append(t.Context(), hook("github", 2)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Append without a token: %v, want ErrUnavailable", err)
	}
}
