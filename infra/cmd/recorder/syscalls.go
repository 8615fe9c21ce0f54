package main

import (
	"bytes"
	"os"
	"syscall"
)

func argument() string {
	if len(os.Args) != 2 {
		return ""
	}
	return os.Args[1]
}

func environ(name string) string {
	value, _ := syscall.Getenv(name)
	return value
}

func readAll(fd int) ([]byte, error) {
	buf := make([]byte, 0, 8<<10)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := syscall.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return buf, nil
		default:
			buf = buf[:len(buf)+n]
		}
	}
}

func write(fd int, b []byte) {
	// When standard error is closed the error cannot be reported.
	_, _ = syscall.Write(fd, b)
}

// after returns what follows mark in b, nil when it is not there.
func after(b []byte, mark string) []byte {
	_, rest, _ := bytes.Cut(b, []byte(mark))
	return rest
}

// quoted returns b up to the closing quote.
func quoted(b []byte) string {
	value, _, found := bytes.Cut(b, []byte(`"`))
	if !found {
		return ""
	}
	return string(value)
}

// number reads the digits b starts with.
func number(b []byte) int64 {
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' || n > 1<<40 {
			break
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

func decimal(n uint64) string {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(digits[i:])
		}
	}
}

func hexadecimal(n uint64) string {
	var digits [16]byte
	for i := range digits {
		digits[i] = "0123456789abcdef"[n>>(60-4*i)&15]
	}
	return string(digits[:])
}

// fnv1a is the 64-bit FNV-1a hash.
func fnv1a(b []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return h
}
