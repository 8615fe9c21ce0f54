package wire

import (
	"net/http"
	"sync/atomic"
	"time"
)

// date is a Date field. It is reused within one second.
type date struct {
	second int64
	line   string
}

var lastDate atomic.Pointer[date]

// appendDate appends the Date field (RFC 9110, 6.6.1).
func appendDate(b []byte, now time.Time) []byte {
	d := lastDate.Load()
	if second := now.Unix(); d == nil || d.second != second {
		d = &date{second, "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		lastDate.Store(d)
	}
	return append(b, d.line...)
}
