package ingress

import (
	"net/http"
	"strings"

	"sluice/sidecar/internal/wire"
	"sluice/sidecar/senders"
)

// heldReply acknowledges a webhook that is stored. Fields and body share one
// allocation, since this is a replica's most frequent reply during a deploy.
func heldReply(status int, body, id string) wire.Reply {
	b := append(make([]byte, 0, 256), "Sluice-Status: held\r\n"...)
	b = appendID(b, id)
	if status == http.StatusNoContent {
		return wire.Reply{Status: status, Fields: b}
	}
	if body != "" {
		return wire.Reply{Status: status, Fields: append(b, "Content-Type: text/plain; charset=utf-8\r\n"...), Body: []byte(body)}
	}
	b = append(b, "Content-Type: application/json\r\n"...)
	fields := len(b)
	b = append(append(append(b, `{"status":"held","id":"`...), id...), `"}`...)
	return wire.Reply{Status: status, Fields: b[:fields], Body: b[fields:]}
}

// appendID appends the field Sluice-Id. It may write into fields, so nobody else
// may use them.
func appendID(fields []byte, id string) []byte {
	return append(append(append(fields, "Sluice-Id: "...), id...), "\r\n"...)
}

// answerReply turns a sender's own form of answer into a reply.
func answerReply(a senders.Answer) wire.Reply {
	r := wire.Reply{Status: a.Status, Body: a.Body}
	add := func(name, value string) {
		if value != "" && !strings.ContainsAny(value, "\r\n\x00") {
			r.Fields = append(r.Fields, name+": "+value+"\r\n"...)
		}
	}
	add("Content-Type", a.ContentType)
	for name, value := range a.Header {
		add(name, value)
	}
	return r
}
