package buffer

import (
	"encoding/binary"
	"sync"
	"time"
)

// arrays writes parameters of array types as PostgreSQL's array_recv reads
// them, one behind the other: an element is copied once on its way to the
// connection, where pgx's type system allocates for each.
type arrays struct {
	elements int
	bytes    []byte
	ends     []int
}

const maxKeptArrays = 2 * maxBatchBytes

var keptArrays = sync.Pool{New: func() any { return new(arrays) }}

// newArrays begins parameters of so many elements each. Release gives back the
// memory.
func newArrays(elements int) *arrays {
	a := keptArrays.Get().(*arrays)
	a.elements, a.bytes, a.ends = elements, a.bytes[:0], a.ends[:0]
	return a
}

func (a *arrays) release() {
	if cap(a.bytes) <= maxKeptArrays {
		keptArrays.Put(a)
	}
}

// column writes one array; element writes the i-th element by one of the
// methods below.
func (a *arrays) column(oid uint32, element func(i int)) {
	for _, field := range [...]uint32{1, 0, oid, uint32(a.elements), 1} { // dimensions, no NULLs, type, length, first index
		a.bytes = binary.BigEndian.AppendUint32(a.bytes, field)
	}
	for i := range a.elements {
		element(i)
	}
	a.ends = append(a.ends, len(a.bytes))
}

func (a *arrays) length(n int)  { a.bytes = binary.BigEndian.AppendUint32(a.bytes, uint32(n)) }
func (a *arrays) data(b []byte) { a.length(len(b)); a.bytes = append(a.bytes, b...) }
func (a *arrays) text(s string) { a.length(len(s)); a.bytes = append(a.bytes, s...) }
func (a *arrays) bool(v bool) {
	a.length(1)
	var b byte
	if v {
		b = 1
	}
	a.bytes = append(a.bytes, b)
}
func (a *arrays) int2(n int16) {
	a.length(2)
	a.bytes = binary.BigEndian.AppendUint16(a.bytes, uint16(n))
}
func (a *arrays) int4(n int) {
	a.length(4)
	a.bytes = binary.BigEndian.AppendUint32(a.bytes, uint32(n))
}
func (a *arrays) int8(n int) {
	a.length(8)
	a.bytes = binary.BigEndian.AppendUint64(a.bytes, uint64(n))
}

// epoch is where PostgreSQL counts microseconds from.
var epoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

func (a *arrays) time(t time.Time) { a.int8(int(t.UnixMicro() - epoch.UnixMicro())) }

// params returns the arrays, which are valid until release.
func (a *arrays) params() [][]byte {
	params, begin := make([][]byte, len(a.ends), len(a.ends)+2), 0
	for i, end := range a.ends {
		params[i], begin = a.bytes[begin:end:end], end
	}
	return params
}
