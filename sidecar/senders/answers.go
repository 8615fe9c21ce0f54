package senders

// notNow answers a handshake that needs a secret nobody has configured.
var notNow = Answer{
	Status:      503,
	ContentType: "text/plain",
	Header:      map[string]string{"Retry-After": "5"},
	Body:        []byte("not now\n"),
}

// echo returns what a stranger sent, as text that no browser will run.
func echo(s string) Answer {
	return Answer{
		Status:      200,
		ContentType: "text/plain; charset=utf-8",
		Header:      map[string]string{"X-Content-Type-Options": "nosniff"},
		Body:        []byte(s),
	}
}
