package senders

import "time"

// shopify: https://shopify.dev/docs/apps/build/webhooks/subscribe/https
//
// Shopify waits 5 s, retries eight times in four hours, then removes the
// subscription.
type shopify struct{}

func init() { register(shopify{}) }

// The older webhooks and the newer events differ in the prefix of their names.
const (
	shopifySignature = "X-Shopify-Hmac-Sha256"
	shopifyEvents    = "Shopify-Hmac-Sha256"
)

var (
	shopifyIDs    = []string{"X-Shopify-Webhook-Id", "Shopify-Webhook-Id"}
	shopifyTopics = []string{"X-Shopify-Topic", "Shopify-Topic"}

	errShopifyUnsigned  = unsigned(shopifySignature)
	errShopifyMalformed = malformed(shopifySignature)
	errShopifyMismatch  = mismatch(shopifySignature)
)

func (shopify) Traits() Traits {
	return Traits{
		Name:          "shopify",
		SecretVar:     "SHOPIFY_CLIENT_SECRET",
		Budget:        4 * time.Second,
		HoldStatus:    200,
		RetriesItself: true,
		Marks:         shopifyMarks,
	}
}

var shopifyMarks = []string{shopifySignature, shopifyEvents}

func (shopify) Verify(r Request, secrets []string, _ time.Time) error {
	if repeated(r.Header, shopifySignature, shopifyEvents) {
		return errRepeated
	}
	signature := r.Header.Get(shopifySignature)
	if signature == "" {
		signature = r.Header.Get(shopifyEvents)
	}
	if signature == "" {
		return errShopifyUnsigned
	}
	sum, readable := base64Sum(signature)
	if !readable {
		return errShopifyMalformed
	}
	if !signedBy(&sum, secrets, r.Body) {
		return errShopifyMismatch
	}
	return nil
}

func (shopify) Identify(r Request) Identity {
	return Identity{DeliveryID: firstName(r.Header, shopifyIDs), Event: firstName(r.Header, shopifyTopics)}
}
