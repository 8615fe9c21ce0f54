package routes

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sluice/sidecar/senders"
)

// entry is one route of the file while it is read.
type entry struct {
	Route
	file    *file
	members map[string]any
	at      []string
	none    bool // verify: none
	missing bool // a secret that is named and not there; told already, unless routes may be closed
}

func (e *entry) problem(member, reason string) {
	e.file.Report(member+": "+reason, append(e.at[:len(e.at):len(e.at)], member)...)
}

var required = []string{"name", "path", "sender"}

// order is that in which members are read: the sender gives the defaults.
var order = []string{
	"name", "path", "header", "sender", "verify", "secrets", "handshake_secrets", "lane", "status", "budget", "sync", "errors", "methods", "networks", "max_body_bytes",
}

// readers read the members of a route.
var readers = map[string]func(e *entry, value any) error{
	"name":    (*entry).readName,
	"path":    (*entry).readPath,
	"header":  (*entry).readHeader,
	"sender":  (*entry).readSender,
	"verify":  (*entry).readVerify,
	"secrets": func(e *entry, v any) (err error) { e.Secrets, err = e.readSecrets("secrets", v); return err },
	"handshake_secrets": func(e *entry, v any) (err error) {
		e.HandshakeSecrets, err = e.readSecrets("handshake_secrets", v)
		return err
	},
	"lane":           (*entry).readLane,
	"status":         (*entry).readStatus,
	"budget":         (*entry).readBudget,
	"sync":           (*entry).readSync,
	"errors":         (*entry).readErrors,
	"methods":        (*entry).readMethods,
	"networks":       (*entry).readNetworks,
	"max_body_bytes": (*entry).readMaxBody,
}

func (e *entry) readName(v any) error {
	e.Name, _ = v.(string)
	if !names.MatchString(e.Name) {
		return errors.New(nameRule)
	}
	return nil
}

func (e *entry) readPath(v any) error {
	path, _ := v.(string)
	return e.setPath(path)
}

// readHeader checks the field that carries the signature of a generic sender.
func (e *entry) readHeader(v any) error {
	header, _ := v.(string)
	if header == "" || strings.ContainsFunc(header, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c) }) {
		return errors.New("must be the name of a header field")
	}
	if e.members["sender"] != "generic" {
		return errors.New("is for the sender generic alone")
	}
	return nil
}

func (e *entry) readSender(v any) (err error) {
	name, ok := v.(string)
	if !ok {
		return errors.New("must be the name of a sender")
	}
	if e.Sender, err = e.file.sender(name); err != nil || e.Sender == nil {
		return err // nil: its scheme has a problem, which is told there
	}
	if header, ok := e.members["header"].(string); ok && name == "generic" {
		e.Sender = senders.GenericHMAC(header, "")
	}
	t := e.Sender.Traits()
	e.Status, e.Budget, e.Lane = t.HoldStatus, t.Budget, naturalLane(e.Sender)
	return nil
}

func (e *entry) readVerify(v any) error {
	if v != "none" {
		return errors.New("must be none, or left out")
	}
	e.none = true
	return nil
}

func (e *entry) readLane(v any) error {
	e.Lane = nil
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) == 0 {
		return errors.New("must be a key or a list of keys")
	}
	for _, item := range list {
		text, _ := item.(string)
		key, err := ParseLaneKey(text)
		if err != nil {
			return err
		}
		if key == nil && len(list) > 1 {
			return errors.New(NoLaneKey + " must stand alone")
		}
		e.Lane = append(e.Lane, key...)
	}
	return nil
}

func (e *entry) readStatus(v any) error {
	n, ok := v.(uint64)
	if !ok || n > 999 {
		return errors.New("must be 200, 202 or 204")
	}
	return e.setStatus(int(n)) //nolint:gosec // at most 999
}

func (e *entry) readBudget(v any) (err error) {
	text, _ := v.(string)
	if e.Budget, err = time.ParseDuration(text); err != nil || e.Budget <= 0 {
		return errors.New("must be a duration above 0 such as 2500ms or 8s")
	}
	return nil
}

func (e *entry) readSync(v any) error {
	var ok bool
	if e.Sync, ok = v.(bool); !ok {
		return errors.New("must be true or false")
	}
	return nil
}

func (e *entry) readErrors(v any) error {
	if v != "retry" && v != "return" {
		return errors.New("must be retry or return")
	}
	e.Retry = v == "retry"
	return nil
}

func (e *entry) readMethods(v any) error {
	list, err := texts(v)
	if err != nil {
		return err
	}
	for _, m := range list {
		if m != "POST" && m != "PUT" && m != "PATCH" && m != "DELETE" {
			return fmt.Errorf("must be POST, PUT, PATCH or DELETE; one is %q", m)
		}
	}
	e.Methods = list
	return nil
}

func (e *entry) readNetworks(v any) error {
	list, err := texts(v)
	if err != nil {
		return err
	}
	for _, text := range list {
		network, err := netip.ParsePrefix(text)
		if addr, single := netip.ParseAddr(text); single == nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return fmt.Errorf("must be addresses or networks such as 192.0.2.0/24; one is %q", text)
		}
		e.Networks = append(e.Networks, network.Masked())
	}
	return nil
}

func (e *entry) readMaxBody(v any) error {
	n, ok := v.(uint64)
	if !ok || n == 0 || n > 1<<40 {
		return errors.New("must be a whole number of bytes, at least 1")
	}
	e.MaxBody = int64(n) //nolint:gosec // bounded
	return nil
}

// texts reads a list of one or more texts.
func texts(v any) ([]string, error) {
	list, _ := v.([]any)
	found := make([]string, 0, len(list))
	for _, item := range list {
		if text, ok := item.(string); ok {
			found = append(found, text)
		}
	}
	if len(found) == 0 || len(found) != len(list) {
		return nil, errors.New("must be a list of texts")
	}
	return found, nil
}

// readSecrets reads a list of {env: VARIABLE} and {file: PATH}. Nothing is cut at
// commas.
func (e *entry) readSecrets(member string, v any) (secrets []string, err error) {
	list, _ := v.([]any)
	if len(list) == 0 {
		return nil, errors.New("must be a list such as [{env: VARIABLE}, {file: /run/secrets/name}]")
	}
	for i, item := range list {
		secret, err := e.secret(item)
		if err != nil {
			e.file.Report(member+": "+err.Error(), append(e.at[:len(e.at):len(e.at)], member, strconv.Itoa(i))...)
			e.missing = true
		} else if secret != "" {
			secrets = append(secrets, secret)
		}
	}
	return secrets, nil
}

// secret reads one secret. It is empty where a missing one only closes the route.
func (e *entry) secret(item any) (string, error) {
	from, _ := item.(map[string]any)
	variable, isVariable := from["env"].(string)
	path, isFile := from["file"].(string)
	var secret, of string
	switch {
	case len(from) == 1 && isVariable && variable != "":
		if secret, of = e.file.Secret(variable), variable; secret == "" && !e.file.Close {
			return "", fmt.Errorf("%s is not set", variable)
		}
	case len(from) == 1 && isFile && path != "":
		var err error
		if secret, err = e.file.SecretFile(path); err != nil && !e.file.Close {
			return "", fmt.Errorf("the file %s can't be read: %w", path, err)
		}
		of = "the file " + path
	default:
		return "", errors.New("a secret must be {env: VARIABLE} or {file: PATH}")
	}
	if secret != "" && len(secret) < minSecret {
		return "", fmt.Errorf("%s must have at least %d bytes; its value is not shown", of, minSecret)
	}
	return secret, nil
}

// settle decides about a route's verification once all its members are read.
func (e *entry) settle() error {
	if e.members["handshake_secrets"] == nil && e.Sender.Traits().HandshakeVar == "" {
		e.HandshakeSecrets = e.Secrets
	}
	switch {
	case e.none && e.members["secrets"] != nil:
		return errors.New("verify: none and secrets contradict each other; leave one out")
	case e.none:
		e.Unverified = true
		return nil
	case e.missing:
		return nil
	case e.members["sender"] == "generic" && e.members["header"] == nil && e.members["secrets"] != nil:
		return errors.New("secrets need a header with the signature; the sender generic has none of its own")
	}
	return e.file.settle(&e.Route, func() error {
		return errors.New("secrets are missing, such as [{env: VARIABLE}]; or say verify: none")
	})
}
