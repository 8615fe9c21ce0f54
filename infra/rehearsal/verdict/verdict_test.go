package verdict

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/infra/rehearsal/sender"
)

var zero = time.Unix(1_000_000, 0)

func at(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }

// hook is a webhook acknowledged by one try.
func hook(id, replica string, sent, acked int) sender.Webhook {
	return sender.Webhook{ID: id, Lane: "github", Hash: 7, Bytes: 3, Tries: []sender.Try{
		{Sent: at(sent), Done: at(acked), Status: 202, Replica: replica, SluiceID: "s-" + id},
	}}
}

func refused(sent, done, status int, replica string) sender.Try {
	return sender.Try{Sent: at(sent), Done: at(done), Status: status, Replica: replica}
}

func record(id, sluiceID string) Record { return Record{SluiceID: sluiceID, ID: id, Hash: 7, Bytes: 3} }

func job(n int64, sluiceID string) Job {
	return Job{ID: n, SluiceID: sluiceID, State: "completed", Attempt: 1}
}

func TestJudge(t *testing.T) {
	retried := hook("a", "r1", 10, 11)
	retried.Tries = append([]sender.Try{refused(0, 1, 503, "")}, retried.Tries...)
	unanswered := sender.Webhook{ID: "a", Lane: "github", Hash: 7, Bytes: 3, Tries: []sender.Try{refused(0, 1, 0, "")}}
	oops := sender.Webhook{ID: "a", Lane: "github", Hash: 7, Bytes: 3, Tries: []sender.Try{refused(0, 1, 502, "r1")}}

	for name, c := range map[string]struct {
		evidence Evidence
		check    func(*Verdict) bool
		good     bool
	}{
		"delivered once": {
			Evidence{Webhooks: []sender.Webhook{hook("a", "r1", 0, 1)}, Records: []Record{record("a", "s-a")}, Jobs: []Job{job(1, "s-a")}},
			func(v *Verdict) bool { return v.Acknowledged == 1 && v.Delivered == 1 && v.Duplicated == 0 }, true,
		},
		"lost: no job": {
			Evidence{Webhooks: []sender.Webhook{hook("a", "r1", 0, 1)}},
			func(v *Verdict) bool { return len(v.Lost) == 1 && strings.Contains(v.Lost[0].Reason, "no job") }, false,
		},
		"lost: job never ran": {
			Evidence{Webhooks: []sender.Webhook{hook("a", "r1", 0, 1)}, Jobs: []Job{{ID: 9, SluiceID: "s-a", State: "running"}}},
			func(v *Verdict) bool { return len(v.Lost) == 1 && strings.Contains(v.Lost[0].Reason, `"running"`) }, false,
		},
		"refused is not lost": {
			Evidence{Webhooks: []sender.Webhook{{ID: "a", Tries: []sender.Try{refused(0, 1, 503, "r1")}}}},
			func(v *Verdict) bool { return v.Refused == 1 && v.GivenUp == 1 && len(v.Lost) == 0 }, true,
		},
		"any other refusal is wrong": {
			Evidence{Webhooks: []sender.Webhook{oops}},
			func(v *Verdict) bool { return len(v.Wrong) == 1 && v.Answers["502"] == 1 }, false,
		},
		"delivered though never acknowledged": {
			Evidence{Webhooks: []sender.Webhook{unanswered}, Records: []Record{record("a", "s-x")}},
			func(v *Verdict) bool { return v.Unasked == 1 && v.Delivered == 1 && v.Acknowledged == 0 }, false, // no answer is a wrong one
		},
		"a job cut off and run again": {
			Evidence{
				Webhooks: []sender.Webhook{hook("a", "r1", 0, 1)},
				Records:  []Record{record("a", "s-a"), record("a", "s-a")},
				Jobs:     []Job{{ID: 1, SluiceID: "s-a", State: "completed", Attempt: 2}},
			},
			func(v *Verdict) bool { return v.Duplicated == 1 && v.Explained[ranAgain] == 1 }, true,
		},
		"one Sluice-Id, two jobs": {
			Evidence{
				Webhooks: []sender.Webhook{hook("a", "r1", 0, 1)},
				Records:  []Record{record("a", "s-a"), record("a", "s-a")},
				Jobs:     []Job{job(1, "s-a"), job(2, "s-a")},
			},
			func(v *Verdict) bool { return len(v.Unexplained) == 1 }, false,
		},
		"an unacknowledged try arrived as well": {
			Evidence{
				Webhooks: []sender.Webhook{retried},
				Records:  []Record{record("a", "s-a"), record("a", "s-early")},
				Jobs:     []Job{job(1, "s-early"), job(2, "s-a")},
			},
			func(v *Verdict) bool { return v.Explained[triedMore] == 1 && v.Duplicated == 1 }, true,
		},
		"two Sluice-Ids for one try": {
			Evidence{Webhooks: []sender.Webhook{hook("a", "r1", 0, 1)}, Records: []Record{record("a", "s-a"), record("a", "s-b")}},
			func(v *Verdict) bool { return len(v.Unexplained) == 1 }, false,
		},
		"two Sluice-Ids for one try at a balancer that repeats": {
			Evidence{Webhooks: []sender.Webhook{hook("a", "r1", 0, 1)}, Records: []Record{record("a", "s-a"), record("a", "s-b")}, BalancerRetries: 1},
			func(v *Verdict) bool { return v.Explained[repeatedByBalancer] == 1 }, true,
		},
		"another body": {
			Evidence{Webhooks: []sender.Webhook{hook("a", "r1", 0, 1)}, Records: []Record{{SluiceID: "s-a", ID: "a", Hash: 8, Bytes: 3}}},
			func(v *Verdict) bool { return len(v.Damaged) == 1 }, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := Judge(c.evidence)
			if !c.check(v) || v.Good() != c.good {
				t.Errorf("good %v, want %v: %+v", v.Good(), c.good, v)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	a, b := hook("a", "r1", 0, 10), hook("b", "r1", 20, 30)
	elsewhere := hook("b", "r2", 20, 30)
	meanwhile := hook("b", "r1", 5, 30)
	otherLane := hook("b", "r1", 20, 30)
	otherLane.Lane = "slack"
	wandered := hook("b", "r1", 20, 30)
	wandered.Tries = append([]sender.Try{refused(15, 16, 503, "r2")}, wandered.Tries...)

	for name, c := range map[string]struct {
		second sender.Webhook
		strict bool
		found  int
	}{
		"acknowledged before the next was sent": {b, false, 1},
		"sent before the acknowledgement":       {meanwhile, false, 0},
		"another lane":                          {otherLane, false, 0},
		"another replica":                       {elsewhere, false, 0},
		"another replica, strict":               {elsewhere, true, 1},
		"tried at several replicas":             {wandered, false, 0},
		"tried at several replicas, strict":     {wandered, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := Evidence{
				Webhooks: []sender.Webhook{a, c.second}, AcrossReplicas: c.strict,
				Records: []Record{record("a", "s-a"), record("b", "s-b")},
				Jobs:    []Job{job(1, "s-b"), job(2, "s-a")},
			}
			if v := Judge(e); len(v.OutOfOrder) != c.found {
				t.Errorf("found %v, want %d", v.OutOfOrder, c.found)
			}
			e.Jobs = []Job{job(1, "s-a"), job(2, "s-b")}
			if v := Judge(e); len(v.OutOfOrder) != 0 {
				t.Errorf("in order, found %v", v.OutOfOrder)
			}
		})
	}
}

// TestOrderAgainstPairs compares the sweep with the rule itself, pair by pair.
func TestOrderAgainstPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e Evidence
		n := rapid.IntRange(0, 12).Draw(t, "n")
		for i := range n {
			sent := rapid.IntRange(0, 40).Draw(t, "sent")
			w := hook(string(rune('a'+i)), "r1", sent, sent+rapid.IntRange(0, 10).Draw(t, "took"))
			e.Webhooks = append(e.Webhooks, w)
		}
		for place, i := range rapid.Permutation(indices(n)).Draw(t, "order") {
			e.Jobs = append(e.Jobs, job(int64(place), "s-"+e.Webhooks[i].ID))
		}
		places := map[string]int64{}
		for _, j := range e.Jobs {
			places[strings.TrimPrefix(j.SluiceID, "s-")] = j.ID
		}
		want := map[string]bool{}
		for _, early := range e.Webhooks {
			for _, late := range e.Webhooks {
				if early.Tries[0].Done.Before(late.Tries[0].Sent) && places[early.ID] > places[late.ID] {
					want[late.ID] = true
				}
			}
		}
		got := Judge(e).OutOfOrder
		if len(got) != len(want) {
			t.Fatalf("found %v, want %v", got, want)
		}
		for _, f := range got {
			if !want[f.ID] {
				t.Fatalf("found %v, want %v", got, want)
			}
		}
	})
}

func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestReadRecords(t *testing.T) {
	records, err := ReadRecords(strings.NewReader("5\ts\td\tid\t00000000000000ff\t12\n6\ts2\td\tid2\t"))
	if err != nil || len(records) != 1 {
		t.Fatalf("%v, %v", records, err)
	}
	want := Record{At: time.Unix(0, 5), SluiceID: "s", ID: "id", Hash: 255, Bytes: 12}
	if records[0] != want {
		t.Errorf("got %+v, want %+v", records[0], want)
	}
	if _, err := ReadRecords(strings.NewReader("broken\n")); err == nil {
		t.Error("a broken line was read")
	}
}
