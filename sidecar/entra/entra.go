// Package entra gets the tokens with which a process signs in to Azure Database
// for PostgreSQL in place of a password; it may change with any release, since
// compatibility is promised for senders and drain alone. It owns the choice of
// identity; it must never log a token or keep one longer than the identity's own
// cache does.
//
// It is importable: the sidecar and the app use it, and so can any Go app. With
// pgxpool, in the pool's configuration:
//
//	password, err := entra.Passwords()
//	...
//	config.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) (err error) {
//		c.Password, err = password(ctx)
//		return err
//	}
//
// A token is needed for each new connection only; one that has run out does not
// end a connection.
package entra

import (
	"context"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// scope is what Azure Database for PostgreSQL accepts tokens for.
const scope = "https://ossrdbms-aad.database.windows.net/.default"

// tokenLimit bounds one request for a token.
const tokenLimit = 10 * time.Second

// Passwords returns a function that gives the password for a new connection. It
// takes the identity that the platform offers (AZURE_CLIENT_ID names one of
// several), else that of the Azure CLI's user. It asks for nothing itself.
func Passwords() (func(context.Context) (string, error), error) {
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("find identity: %w", err)
	}
	return func(ctx context.Context) (string, error) { return token(ctx, credential) }, nil
}

func token(ctx context.Context, credential azcore.TokenCredential) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenLimit)
	defer cancel()
	got, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		return "", fmt.Errorf("get database token: %w", err)
	}
	return got.Token, nil
}
