package verdict

import (
	"testing"

	"sluice/infra/rehearsal/sender"
)

// taken is a webhook that an app took itself, without jobs.
func taken(id, sluiceID, replica string, place int64, ms int) Record {
	return Record{ID: id, SluiceID: sluiceID, Hash: 7, Bytes: 3, Place: place, Replica: replica, Begun: at(ms), At: at(ms), Replayed: true}
}

func live(r Record) Record { r.Replayed = false; return r }

func killed(replica string, from, to int) Fault {
	return Fault{Kind: "sidecar killed", Replica: replica, Begin: at(from), End: at(to), Silences: true, Repeats: true, Forgets: true}
}

func TestFaultsExplain(t *testing.T) {
	silent := sender.Webhook{ID: "a", Lane: "github", Hash: 7, Bytes: 3, Tries: []sender.Try{refused(0, 50, 0, "r1")}}
	twice := []Record{taken("a", "s-a", "r1", 1, 20), taken("a", "s-a", "r2", 2, 9000)}
	once := twice[:1]
	slow := taken("a", "s-a", "r1", 2, 20) // begun first, taken last
	slow.At = at(9900)
	overtaken := []Record{taken("a", "s-a", "r2", 1, 9000), slow}
	for name, c := range map[string]struct {
		webhook sender.Webhook
		records []Record
		faults  []Fault
		found   func(*Verdict) []Finding
		good    bool
	}{
		"delivered again for no reason":             {hook("a", "r1", 0, 10), twice, nil, unexplained, false},
		"after its sidecar was killed":              {hook("a", "r1", 0, 10), twice, []Fault{killed("r1", 21, 900)}, unexplained, true},
		"after another one was":                     {hook("a", "r1", 0, 10), twice, []Fault{killed("r2", 21, 900)}, unexplained, false},
		"its sidecar was killed long before":        {hook("a", "r1", 0, 10), twice, []Fault{killed("r1", -90_000, -80_000)}, unexplained, false},
		"its sidecar was killed when it was noted":  {hook("a", "r1", 0, 10), twice, []Fault{killed("r1", 8000, 8100)}, unexplained, false},
		"the database was away":                     {hook("a", "r1", 0, 10), twice, []Fault{{Kind: "x", Begin: at(0), End: at(800), Repeats: true}}, unexplained, true},
		"something happened that repeats nothing":   {hook("a", "r1", 0, 10), twice, []Fault{{Kind: "x", Begin: at(0), End: at(800)}}, unexplained, false},
		"an app took last what it got first":        {hook("a", "r1", 0, 10), overtaken, []Fault{killed("r1", 21, 900)}, unexplained, true},
		"the replica it was sent to was frozen":     {hook("a", "r3", 0, 10), twice, []Fault{{Kind: "sidecar frozen", Replica: "r3", Begin: at(5), End: at(9), Repeats: true}}, unexplained, true},
		"the replica was frozen after its answer":   {hook("a", "r3", 0, 10), twice, []Fault{{Kind: "sidecar frozen", Replica: "r3", Begin: at(15), End: at(19), Repeats: true}}, unexplained, false},
		"no answer, and nothing happened":           {silent, once, nil, wrong, false},
		"no answer from a sidecar that was killed":  {silent, once, []Fault{killed("r1", 30, 900)}, wrong, true},
		"no answer though another one was killed":   {silent, once, []Fault{killed("r2", 30, 900)}, wrong, false},
		"no answer, and it was killed afterwards":   {silent, once, []Fault{killed("r1", 60, 900)}, wrong, false},
		"a wrong answer is not explained by faults": {sender.Webhook{ID: "a", Tries: []sender.Try{refused(0, 50, 500, "r1")}}, once, []Fault{killed("r1", 30, 900)}, wrong, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.webhook.Hash, c.webhook.Bytes = 7, 3
			v := Judge(Evidence{Webhooks: []sender.Webhook{c.webhook}, Records: c.records, Faults: c.faults})
			if got := len(c.found(v)) == 0; got != c.good || v.Good() != c.good {
				t.Errorf("good %v, want %v: %+v", v.Good(), c.good, v)
			}
		})
	}
}

func unexplained(v *Verdict) []Finding { return v.Unexplained }
func wrong(v *Verdict) []Finding       { return v.Wrong }

func TestLostWithoutJobs(t *testing.T) {
	e := Evidence{Webhooks: []sender.Webhook{hook("a", "r1", 0, 1), hook("b", "r1", 2, 3)}, Records: []Record{taken("b", "s-b", "r1", 1, 5)}}
	if v := Judge(e); len(v.Lost) != 1 || v.Lost[0].ID != "a" || v.Stored != 0 || v.Good() {
		t.Errorf("lost %v", v.Lost)
	}
	e.Stored = map[string]string{"s-a": "row 1, pending"}
	if v := Judge(e); len(v.Lost) != 1 || v.Stored != 1 || v.Good() {
		t.Errorf("lost %v, %d of them stored", v.Lost, v.Stored)
	}
}

// TestOrderOfRecords: a was acknowledged by r1 before b was sent, and b was
// delivered first.
func TestOrderOfRecords(t *testing.T) {
	a, b := hook("a", "r1", 0, 10), hook("b", "r1", 20, 30)
	elsewhere := hook("b", "r2", 20, 30)
	several := hook("b", "r1", 60, 70)
	several.Tries = append([]sender.Try{refused(20, 30, 0, "r2")}, several.Tries...)
	aLate := taken("a", "s-a", "r1", 2, 90)
	away := Fault{Kind: "postgres killed", Begin: at(15), End: at(95), Blinds: true, Silences: true}
	passing := []Blind{{"r1", at(19), at(90)}}
	for name, c := range map[string]struct {
		late    sender.Webhook
		first   Record // b's
		more    []Record
		faults  []Fault
		forced  []Forced
		blind   []Blind
		strict  bool
		found   int
		excused string
		left    int
	}{
		"at one replica":                       {late: b, first: taken("b", "s-b", "r1", 1, 40), found: 1},
		"forwarded at one replica":             {late: b, first: live(taken("b", "s-b", "r1", 1, 40)), found: 1},
		"at two replicas":                      {late: elsewhere, first: live(taken("b", "s-b", "r2", 1, 40))},
		"at two replicas, strict":              {late: elsewhere, first: live(taken("b", "s-b", "r2", 1, 40)), strict: true, found: 1},
		"forced open":                          {late: b, first: live(taken("b", "s-b", "r1", 1, 40)), forced: []Forced{{at(25), "r1", "github"}}, excused: forcedOpen},
		"forced open afterwards":               {late: b, first: live(taken("b", "s-b", "r1", 1, 40)), forced: []Forced{{at(45), "r1", "github"}}, found: 1},
		"another lane forced open":             {late: b, first: live(taken("b", "s-b", "r1", 1, 40)), forced: []Forced{{at(25), "r1", "slack"}}, found: 1},
		"forced open, but out of the queue":    {late: b, first: taken("b", "s-b", "r1", 1, 40), forced: []Forced{{at(25), "r1", "github"}}, found: 1},
		"restarted while the database is away": {late: b, first: live(taken("b", "s-b", "r1", 1, 40)), faults: []Fault{away, killed("r1", 12, 18)}, blind: passing, excused: passedBlind},
		"the same, and it was not blind":       {late: b, first: live(taken("b", "s-b", "r1", 1, 40)), faults: []Fault{away, killed("r1", 12, 18)}, found: 1},
		"blind for no reason":                  {late: b, first: live(taken("b", "s-b", "r1", 1, 40)), faults: []Fault{killed("r1", 12, 18)}, blind: passing, found: 1},
		"only restarted":                       {late: b, first: live(taken("b", "s-b", "r1", 1, 40)), faults: []Fault{killed("r1", 12, 18)}, found: 1},
		"the database was away":                {late: b, first: live(taken("b", "s-b", "r1", 1, 40)), faults: []Fault{away}, blind: passing, found: 1},
		"restarted, away, strict":              {late: b, first: live(taken("b", "s-b", "r1", 1, 40)), faults: []Fault{away, killed("r1", 12, 18)}, blind: passing, strict: true, found: 1},
		"an earlier try went another way": {
			late: several, first: live(taken("b", "s-early", "r2", 1, 25)), more: []Record{taken("b", "s-b", "r1", 3, 95)},
		},
		"its own copy is early as well": {
			late: several, first: live(taken("b", "s-b", "r1", 1, 25)), found: 1,
		},
		"only another replica's copy was delivered": {late: several, first: live(taken("b", "s-early", "r2", 1, 25)), left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := Evidence{
				Webhooks: []sender.Webhook{a, c.late}, Records: append([]Record{c.first, aLate}, c.more...),
				Faults: c.faults, Forced: c.forced, Blind: c.blind, AcrossReplicas: c.strict,
			}
			v := Judge(e)
			if len(v.OutOfOrder) != c.found || v.Unordered != c.left {
				t.Errorf("found %v, %d left out, want %d and %d", v.OutOfOrder, v.Unordered, c.found, c.left)
			}
			if c.found > 0 && v.OutOfOrder[0].Other != "a" {
				t.Errorf("it overtook %q, want a", v.OutOfOrder[0].Other)
			}
			if n := v.Excused[c.excused]; c.excused != "" && n != 1 {
				t.Errorf("excused %v, want %s", v.Excused, c.excused)
			}
		})
	}
}
