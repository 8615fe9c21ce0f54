package chaos

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/rehearsal/sender"
	"sluice/infra/rehearsal/verdict"
)

const (
	told       = 5 // stories of each kind of trouble
	nearFaults = 3 * time.Second
	mostFaults = 25
	mostLines  = 12 // of a log
	lineWidth  = 400
)

// Story tells what happened to one webhook that something is wrong with.
type Story struct {
	Trouble string   `json:"trouble"`
	ID      string   `json:"id"`
	Lane    string   `json:"lane"`
	Reason  string   `json:"reason"`
	Lines   []string `json:"lines"` // in order of time
}

// line is one thing in a story.
type line struct {
	at   time.Time
	text string
}

// stories are those of the first few webhooks of each kind of trouble.
func (s *stage) stories(ctx context.Context, v *verdict.Verdict, e *evidence) (all []Story) {
	webhooks := make(map[string]*sender.Webhook, len(e.Webhooks))
	for i := range e.Webhooks {
		webhooks[e.Webhooks[i].ID] = &e.Webhooks[i]
	}
	for _, group := range append(troubles(v), s.stuckTrouble(webhooks)) {
		for _, f := range group.list[:min(told, len(group.list))] {
			var lines []line
			ids := []string{f.ID, f.Other}
			for _, id := range slices.DeleteFunc(ids, func(id string) bool { return id == "" }) {
				lines = append(lines, s.happened(ctx, webhooks[id], e)...)
			}
			lines = append(lines, near(e.Faults, lines)...)
			slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
			story := Story{Trouble: group.name, ID: f.ID, Lane: f.Lane, Reason: f.Reason}
			for _, l := range lines {
				story.Lines = append(story.Lines, fmt.Sprintf("%8.3fs  %s", l.at.Sub(s.begin).Seconds(), l.text))
			}
			all = append(all, story)
		}
	}
	return all
}

// trouble is one kind of findings.
type trouble struct {
	name string
	list []verdict.Finding
}

func troubles(v *verdict.Verdict) []trouble {
	return []trouble{
		{"lost", slices.DeleteFunc(slices.Clone(v.Lost), func(f verdict.Finding) bool { return strings.Contains(f.Reason, "still stored") })}, {"out of order", v.OutOfOrder}, {"damaged", v.Damaged},
		{"delivered again without a reason", v.Unexplained}, {"wrong answer", v.Wrong},
	}
}

// stuckTrouble lists the webhooks that were first in a lane without progress.
func (s *stage) stuckTrouble(webhooks map[string]*sender.Webhook) trouble {
	t := trouble{name: "stuck"}
	slices.Sort(s.suspects)
	for _, id := range slices.Compact(s.suspects) {
		if w := webhooks[id]; w != nil {
			t.list = append(t.list, verdict.Finding{ID: id, Lane: w.Lane, Reason: "its lane made no progress while no fault was active"})
		}
	}
	return t
}

// happened gathers what the senders, the apps, the table and the logs say about a
// webhook.
func (s *stage) happened(ctx context.Context, w *sender.Webhook, e *evidence) (lines []line) {
	ids := map[string]bool{}
	for i, t := range w.Tries {
		what := fmt.Sprintf("answered %d", t.Status)
		if t.Status == 0 {
			what = "no answer: " + t.Err
		}
		if t.Held {
			what += ", held"
		}
		if t.SluiceID != "" {
			ids[t.SluiceID] = true
			what += ", Sluice-Id " + t.SluiceID
		}
		lines = append(lines,
			line{t.Sent, fmt.Sprintf("%s  try %d sent to %s (%d bytes)", w.ID, i+1, cmp.Or(t.Replica, "no replica"), w.Bytes)},
			line{t.Done, fmt.Sprintf("%s  try %d %s", w.ID, i+1, what)})
	}
	for i := range e.deliveries {
		d := &e.deliveries[i]
		if d.ID == w.ID {
			ids[d.SluiceID] = true
			lines = append(lines, line{d.Done, fmt.Sprintf("%s  taken by the app of %s as delivery %d, answered %d: Sluice-Id %s, attempt %d, replayed %v, begun %s before",
				w.ID, d.Replica, d.Place, d.Status, d.SluiceID, d.Attempt, d.Replayed, d.Done.Sub(d.Begun).Round(time.Millisecond))})
		}
	}
	lines = append(lines, s.rows(ctx, w)...)
	return append(lines, s.logged(w.ID, ids)...)
}

const rowsSQL = `
SELECT id, sluice_id::text, status, attempts, coalesce(awaited_by::text, '-'), dup_count, coalesce(last_error, '-'), bucket,
	queued_at, coalesce(claimed_at, queued_at), coalesce(processed_at, now())
FROM webhook_queue WHERE delivery_id = $1`

// rows are the webhook's current rows in the table.
func (s *stage) rows(ctx context.Context, w *sender.Webhook) (lines []line) {
	err := s.query(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, rowsSQL, w.Delivery)
		if err != nil {
			return err
		}
		var id int64
		var attempts, copies, bucket int
		var sluiceID, state, awaited, reason string
		var queued, claimed, processed time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &sluiceID, &state, &attempts, &awaited, &copies, &reason, &bucket, &queued, &claimed, &processed}, func() error {
			lines = append(lines,
				line{queued, fmt.Sprintf("%s  row %d written, Sluice-Id %s, bucket %d", w.ID, id, sluiceID, bucket)},
				line{claimed, fmt.Sprintf("%s  row %d last claimed", w.ID, id)},
				line{processed, fmt.Sprintf("%s  row %d is %s: attempts %d, awaited by %s, copies %d, last error %q", w.ID, id, state, attempts, awaited, copies, reason)})
			return nil
		})
		return err
	})
	if err != nil {
		lines = append(lines, line{time.Now(), fmt.Sprintf("%s  its rows can't be read: %v", w.ID, err)})
	}
	return lines
}

// logged returns the lines of the sidecars' logs that name the webhook.
func (s *stage) logged(id string, sluiceIDs map[string]bool) (lines []line) {
	marks := [][]byte{[]byte(`"delivery_id":"` + id + `"`)}
	for sluiceID := range sluiceIDs {
		marks = append(marks, []byte(sluiceID))
	}
	err := s.eachLine(func(replica string, text []byte) {
		if len(lines) >= mostLines || !slices.ContainsFunc(marks, func(m []byte) bool { return bytes.Contains(text, m) }) {
			return
		}
		lines = append(lines, line{stamp(text), fmt.Sprintf("%s  log of %s: %.*s", id, replica, lineWidth, text)})
	})
	if err != nil {
		lines = append(lines, line{time.Now(), err.Error()})
	}
	return lines
}

// stamp reads the time that a line of JSON begins with.
func stamp(text []byte) time.Time {
	_, rest, _ := strings.Cut(string(text[:min(len(text), 80)]), `"time":"`)
	at, _, _ := strings.Cut(rest, `"`)
	parsed, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return time.Now()
	}
	return parsed
}

// near returns the faults that were active around the given lines.
func near(faults []verdict.Fault, lines []line) (found []line) {
	for i := range faults {
		f := &faults[i]
		if !slices.ContainsFunc(lines, func(l line) bool { return f.Begin.Add(-nearFaults).Before(l.at) && l.at.Before(f.End.Add(nearFaults)) }) {
			continue
		}
		if len(found) == mostFaults {
			return append(found, line{f.Begin, "* and more faults"})
		}
		found = append(found, line{f.Begin, fmt.Sprintf("* %s, for %s", describe(f), f.End.Sub(f.Begin).Round(time.Millisecond))})
	}
	return found
}
