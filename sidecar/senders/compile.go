package senders

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The values of a scheme that says nothing.
const (
	defaultBudget = 8 * time.Second
	defaultStatus = 202
	maxHoldBody   = 1000
)

// Compile checks the scheme and returns its sender, which is a [Handshaker] and,
// where the signature ages and can be made afresh, a [Resigner] as well. The
// error is of type [Problems].
func (s Scheme) Compile(name string) (Sender, error) {
	var problems Problems
	d := &declared{scheme: s, url: s.URL}
	if !schemeName.MatchString(name) {
		problems.add("", "must have a name of lower-case letters, digits, - and _; it is %q", name)
	}
	d.signature = compileSources(s.Signature, "signature", &problems)
	if len(s.Signature) == 0 {
		problems.add("signature", "must say where the signature is")
	}
	d.compileDigest(s, &problems)
	d.compileBase(s, &problems)
	d.compileTime(s, &problems)
	d.id = compileSources(s.ID, "id", &problems)
	d.event = compileSources(s.Event, "event", &problems)
	if d.base.has(varID) && len(d.id) != 1 {
		problems.add("id", "must be one source, since base has {id}")
	}
	for i, h := range s.Handshake {
		d.shakes = append(d.shakes, compileShake(h, "handshake["+strconv.Itoa(i)+"]", &problems))
		if h.Signed != s.Handshake[0].Signed {
			problems.add("handshake", "must all be signed or all not: a sender is asked for its handshake either before or after its signature")
		}
	}
	d.compileTraits(name, s, &problems)
	if len(problems) > 0 {
		return nil, problems
	}
	d.compileFields()
	d.compileVerdicts()
	if d.ages() {
		return &resigning{d}, nil
	}
	return d, nil
}

var schemeName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// oneOf returns the value or, for "", the first of those allowed.
func oneOf(value, field string, problems *Problems, allowed ...string) string {
	if value == "" {
		return allowed[0]
	}
	if !slices.Contains(allowed, value) {
		problems.add(field, "must be one of %s; it is %q", strings.Join(allowed, ", "), value)
		return allowed[0]
	}
	return value
}

func (d *declared) compileDigest(s Scheme, problems *Problems) {
	mac := oneOf(s.MAC, "mac", problems, "hmac-sha256", "hmac-sha1", "hmac-sha512", plainSHA256, equalToken)
	if d.token = mac == equalToken; d.token {
		if s.Encoding != "" {
			d.encoding = oneOf(s.Encoding, "encoding", problems, "base64")
		}
		for _, f := range []struct{ field, value string }{{"base", s.Base}, {"key", s.Key}, {"key_prefix", s.KeyPrefix}} {
			if f.value != "" {
				problems.add(f.field, "must not be there with mac: equal, which compares the secret itself")
			}
		}
		return
	}
	d.encoding = oneOf(s.Encoding, "encoding", problems, "hex", "base64", "base64url")
	d.decode, d.size = encodings[d.encoding].decode, algorithms[mac].size
	form := oneOf(s.Key, "key", problems, "raw", "hex", "base64")
	d.keys = schemeKeyring(mac, form, s.KeyPrefix)
}

func (d *declared) compileBase(s Scheme, problems *Problems) {
	if d.token {
		return
	}
	text := s.Base
	if text == "" {
		text = "{body}"
	}
	d.base = compileTemplate(text, "base", baseVariables, problems)
	if !d.base.has(varBody) && !s.Partial {
		problems.add("base", "must have {body}, or the scheme must say partial: true: one signature would fit any body")
	}
	if plain := s.MAC == plainSHA256; plain != d.base.has(varSecret) {
		problems.add("base", "must have {secret} with mac: sha256, and with no other")
	}
	if d.base.has(varTimestamp) && s.Timestamp == nil {
		problems.add("timestamp", "must be there, since base has {timestamp}")
	}
	if u, err := url.Parse(s.URL); s.URL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		problems.add("url", "must be the whole URL as registered with the sender")
	}
	if s.URL != "" && !d.base.has(varURL) {
		problems.add("url", "must not be there, since base has no {url}")
	}
}

func (d *declared) compileTime(s Scheme, problems *Problems) {
	t := s.Timestamp
	if t == nil {
		return
	}
	from := compileSource(Source{From: t.From, Split: t.Split, Prefix: t.Prefix}, "timestamp", problems)
	if len(from) != 1 {
		if len(from) > 1 {
			problems.add("timestamp.from", "must name one field")
		}
		return
	}
	d.time = &signedTime{from: from[0], unit: oneOf(t.Unit, "timestamp.unit", problems, unitSeconds, unitMillis, unitRFC3339), tolerance: tolerance}
	inBody := (from[0].kind == fromJSON || from[0].kind == fromForm) && d.base.has(varBody)
	if !inBody && !d.base.has(varTimestamp) {
		problems.add("timestamp", "must be signed: base must have {timestamp}, or {body} where the time is in the body")
	}
	switch t.Tolerance {
	case "":
	case "none":
		d.time.tolerance = 0
	default:
		limit, err := time.ParseDuration(t.Tolerance)
		if err != nil || limit <= 0 {
			problems.add("timestamp.tolerance", "must be a duration such as 5m, or none; it is %q", t.Tolerance)
		}
		d.time.tolerance = limit
	}
}

func (d *declared) compileTraits(name string, s Scheme, problems *Problems) {
	t := Traits{
		Name: name, SecretVar: s.Secret, Budget: defaultBudget, HoldStatus: defaultStatus, RetriesItself: s.Retries, HoldBody: s.Body,
		OpenHandshake: len(s.Handshake) > 0 && !s.Handshake[0].Signed,
		Marks:         s.Marks, SharedMarks: s.SharedMarks, Lane: s.Lane, Final: s.Final, Refuse: s.Refuse,
	}
	if s.Budget != "" {
		budget, err := time.ParseDuration(s.Budget)
		if err != nil || budget <= 0 {
			problems.add("budget", "must be a duration such as 4s; it is %q", s.Budget)
		}
		t.Budget = budget
	}
	if s.Status != 0 {
		t.HoldStatus = s.Status
		if s.Status != 200 && s.Status != 202 && s.Status != 204 {
			problems.add("status", "must be 200, 202 or 204; it is %d", s.Status)
		}
	}
	if s.Body != "" && (t.HoldStatus == 204 || len(s.Body) > maxHoldBody) {
		problems.add("body", "must have at most %d bytes, and a status other than 204", maxHoldBody)
	}
	for _, status := range s.Final {
		if !finalStatus.MatchString(status) {
			problems.add("final", "must be statuses such as 401, or 4xx; it has %q", status)
		}
	}
	if t.Refuse == 0 && t.isFinal(401) {
		t.Refuse = 503
	}
	if t.Refuse != 0 && (t.Refuse < 400 || t.Refuse > 599) {
		problems.add("refuse", "must be 400 to 599; it is %d", t.Refuse)
	}
	for _, key := range s.Lane {
		kind, name, named := strings.Cut(key, ":")
		if key == "" || named && (kind != fromHeader && kind != fromForm || kind == fromHeader && !isToken(name)) {
			problems.add("lane", "must be a JSON path, header:NAME or form:NAME; it has %q", key)
		}
	}
	for _, mark := range s.Marks {
		if !isToken(mark) {
			problems.add("marks", "must be header fields; it has %q", mark)
		}
	}
	d.traits = t
}

var finalStatus = regexp.MustCompile(`^[345]([0-9][0-9]|xx)$`)

// compileFields lists the header fields that make up the signature, each once.
func (d *declared) compileFields() {
	add := func(kind, name string) {
		if kind == fromHeader && !slices.Contains(d.fields, name) {
			d.fields = append(d.fields, name)
		}
	}
	for i := range d.signature {
		add(d.signature[i].kind, d.signature[i].name)
	}
	if d.time != nil {
		add(d.time.from.kind, d.time.from.name)
	}
	for _, p := range d.base {
		add(p.kind, p.text)
		if p.kind == varID {
			add(d.id[0].kind, d.id[0].name)
		}
	}
}

// compileVerdicts makes the errors once: a flood of forged requests should cost
// no more than the hash.
func (d *declared) compileVerdicts() {
	field := d.signature[0].label()
	d.errUnsigned, d.errMalformed, d.errMismatch = unsigned(field), malformed(field), mismatch(field)
	if d.time == nil {
		return
	}
	d.time.errUndated, d.time.errStale = unsigned(d.time.from.label()), staleBeyond(d.time.tolerance)
	if d.time.from.name == d.signature[0].name {
		d.time.errUndated = d.errMalformed // the signature is there, its time is not
	}
}
