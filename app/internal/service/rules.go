package service

import (
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"

	"sluice/app/internal/actions"
	"sluice/app/internal/hooks"
)

// rules holds the rules in force and replaces them when their file changes.
type rules struct {
	file    string // "" for the default rules
	set     *actions.Set
	log     *slog.Logger
	current atomic.Pointer[hooks.Rules]
	seen    [sha256.Size]byte // of the text last checked, valid or not
}

func loadRules(file string, set *actions.Set, log *slog.Logger) (*rules, error) {
	r := &rules{file: file, set: set, log: log}
	if file == "" {
		r.current.Store(hooks.Default())
		return r, nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, err
	}
	r.seen = sha256.Sum256(text)
	loaded, err := r.check(text)
	if err != nil {
		return nil, err
	}
	r.current.Store(loaded)
	return r, nil
}

func (r *rules) inForce() *hooks.Rules { return r.current.Load() }

// check parses the text and checks that each action has the settings it needs.
func (r *rules) check(text []byte) (*hooks.Rules, error) {
	loaded, err := hooks.Parse(r.file, text)
	if err != nil {
		return nil, err
	}
	var missing []error
	for _, h := range loaded.All() {
		missing = append(missing, r.set.Missing(h))
	}
	return loaded, errors.Join(missing...)
}

// reload reads the file again if it has changed, or when asked to. Invalid rules are
// logged, and the old ones stay in force; then nothing has changed.
func (r *rules) reload(asked bool) (changed bool) {
	if r.file == "" {
		return false
	}
	text, err := os.ReadFile(r.file) //nolint:gosec // the operator's own file
	if err != nil {
		if asked {
			r.log.Error("Hooks not reloaded, the old ones stay in force", "err", err)
		}
		return false // the file may be being replaced just now
	}
	sum := sha256.Sum256(text)
	if sum == r.seen && !asked {
		return false
	}
	r.seen = sum
	loaded, err := r.check(text)
	if err != nil {
		r.log.Error("Hooks not reloaded, the old ones stay in force", "err", err)
		return false
	}
	r.current.Store(loaded)
	r.log.Info("Hooks reloaded", "hooks", len(loaded.All()))
	return true
}
