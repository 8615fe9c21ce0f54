package load

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync/atomic"
)

// Secret is what GitHub's webhooks here are signed with.
const Secret = "bench-github"

// Path is where they are posted.
const Path = "/webhooks/github"

// KeyPath is the place in their bodies that names a lane.
const KeyPath = "repository.full_name"

// Request is a complete HTTP request. Each send gives it a new delivery id, so that
// no webhook is taken for a copy of an earlier one.
type Request struct {
	bytes []byte
	id    int // where the digits that change begin
}

const idDigits = 12

// numbers makes delivery ids; they are unique in this process.
var numbers atomic.Uint64

// GitHub returns one signed push for each lane (a repository), with bodies of size
// bytes. The signature covers the body alone, as GitHub's does, so it
// is made once.
func GitHub(lanes, size int) []Request {
	requests := make([]Request, lanes)
	for lane := range requests {
		body := payload(lane, size)
		mac := hmac.New(sha256.New, []byte(Secret))
		mac.Write(body) // never fails
		head := "POST " + Path + " HTTP/1.1\r\n" +
			"Host: hooks.example.com\r\n" +
			"User-Agent: GitHub-Hookshot/044aadd\r\n" +
			"Accept: */*\r\n" +
			"Content-Type: application/json\r\n" +
			"Content-Length: " + strconv.Itoa(len(body)) + "\r\n" +
			"X-GitHub-Event: push\r\n" +
			"X-GitHub-Hook-ID: 292430182\r\n" +
			"X-GitHub-Hook-Installation-Target-ID: 79929171\r\n" +
			"X-GitHub-Hook-Installation-Target-Type: repository\r\n" +
			"X-Hub-Signature-256: sha256=" + hex.EncodeToString(mac.Sum(nil)) + "\r\n" +
			"X-Forwarded-For: 140.82.115.54\r\n" +
			"X-Forwarded-Proto: https\r\n" +
			"X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-"
		r := Request{id: len(head)}
		r.bytes = append(r.bytes, head...)
		r.bytes = append(r.bytes, "000000000000\r\n\r\n"...)
		r.bytes = append(r.bytes, body...)
		requests[lane] = r
	}
	return requests
}

// payload is a push event, padded to size with a commit message.
func payload(lane, size int) []byte {
	body := fmt.Appendf(nil, `{"ref":"refs/heads/main","repository":{"id":%d,"full_name":"example/repository-%d"},"commits":[{"message":"`,
		186853000+lane, lane)
	const end = `"}]}`
	for n := 0; len(body) < size-len(end); n++ {
		body = append(body, "Correct the order of things. "[n%29])
	}
	return append(body, end...)
}

func (r *Request) clone() Request { return Request{bytes: bytes.Clone(r.bytes), id: r.id} }

// renew gives the request the next delivery id.
func (r *Request) renew() {
	n := numbers.Add(1)
	for i := r.id + idDigits - 1; i >= r.id; i-- {
		r.bytes[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
}
