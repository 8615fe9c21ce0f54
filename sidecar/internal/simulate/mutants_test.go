package simulate

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// mutant is the code with one mechanism taken out.
type mutant struct {
	name string
	file string // from sidecar/internal
	old  string // is there once
	new  string
	more string // a further file of its package
}

// mutants are what the simulator has to find out. Those of simulate/ take out
// what the SQL does, in the model of it.
var mutants = []mutant{
	{
		name: "awaited rows that nobody awaits stay so",
		file: "supervise/membership.go",
		old:  "r.store.FreeAwaited(ctx, r.ingress.Awaits)",
		new:  "r.store.FreeAwaited(ctx, func(string) bool { return true })",
	},
	{
		name: "an attempt counts when it is claimed",
		file: "replay/lane.go",
		old:  "\t\tl.rows = append(l.rows, h)\n",
		new:  "\t\tl.rows = append(l.rows, h)\n\t\tr.mark(h, buffer.Tried, h.row.Attempt, \"claimed\", false)\n\t\th.row.Attempt++\n",
	},
	{
		name: "a look of an older era counts",
		file: "gate/look.go",
		old:  "g.looked = g.looked || k.era == g.era",
		new:  "g.looked = true",
	},
	{
		name: "the gap between two heartbeats is ignored",
		file: "supervise/membership.go",
		old:  "if silent(gap, time.Since(last)) {",
		new:  "if silent(0*gap, 0) {",
	},
	{
		name: "a permit that ran out needs no new look",
		file: "gate/look.go",
		old:  "if !sealed && (g.sealed || !g.permitted()) {",
		new:  "if !sealed && g.sealed {",
	},
	{
		name: "a claim by cursor skips an id that commits late",
		file: "simulate/claim_test.go",
		old:  "\t\ttaken[r.hook.Lane]++\n",
		new:  "\t\tif behind(s, r) {\n\t\t\tcontinue\n\t\t}\n\t\ttaken[r.hook.Lane]++\n",
		more: cursor,
	},
	{
		name: "acknowledged before the append's answer",
		file: "ingress/hold.go",
		old:  "receipt, err := insert(context.WithoutCancel(ctx), &a.hook)",
		new:  "hook := a.hook\n\thook.Body = append([]byte(nil), hook.Body...)\n\tgo insert(context.WithoutCancel(ctx), &hook)\n\treceipt, err := buffer.Receipt{ID: hook.ID}, error(nil)",
	},
	{
		name: "a look that a hold has overtaken opens the lane",
		file: "gate/look.go",
		old:  "if n == 0 && l.holds == 0 && l.seq == seq {",
		new:  "if n == 0 && l.holds == 0 {",
	},
	{
		name: "a hold is counted once it is stored",
		file: "gate/gate.go",
		old:  "\tl.holds++\n\tl.seq++\n\tg.holds++\n",
		new:  "\tl.holds++\n\tg.holds++\n\tif l.holds == 1 && l.backlog == 0 && l.seq == 0 {\n\t\tl.forced = true\n\t}\n\tl.seq++\n",
	},
	{
		name: "rows are sent on when their lease is lost",
		file: "replay/deliver.go",
		old:  "\treturn time.Time{}\n}",
		new:  "\treturn time.Now().Add(time.Hour)\n}",
	},
	{
		name: "a hold that failed opens its lane",
		file: "gate/gate.go",
		old:  "\tg.endHold(lane)\n\tg.mu.Unlock()",
		new:  "\tif l := g.endHold(lane); l.holds+l.backlog == 0 {\n\t\tdelete(g.leaves, lane)\n\t}\n\tg.mu.Unlock()",
	},
	{
		name: "strict: acknowledged without a permit",
		file: "gate/gate.go",
		old:  "g.endHold(lane).backlog++\n\treturn g.permitted()",
		new:  "g.endHold(lane).backlog++\n\treturn true",
	},
	{
		name: "strict: a replica that joins does not wait for the others",
		file: "supervise/membership.go",
		old:  "permit = time.Time{}\n\t\t}",
		new:  "_ = permit\n\t\t}",
	},
	{
		name: "strict: forwarded beside another replica",
		file: "gate/gate.go",
		old:  "case g.sealed:\n\t\treturn false",
		new:  "case g.sealed && g.cfg.Order == None:\n\t\treturn false",
	},
	{
		name: "strict: a permit outlasts what the others wait",
		file: "supervise/membership.go",
		old:  "permitFor       = 2 * time.Second",
		new:  "permitFor       = 5 * time.Second",
	},
	{
		name: "a lease is trusted for longer than it is written for",
		file: "simulate/lease_test.go",
		old:  "leaseTrust = 10 * time.Second",
		new:  "leaseTrust = 25 * time.Second",
	},
	{
		name: "rows behind an awaited one are claimed",
		file: "simulate/claim_test.go",
		old:  "shut[r.hook.Lane] = true\n",
		new:  "_ = shut\n",
	},
	{
		name: "rows behind forgotten ones are taken",
		file: "replay/lane.go",
		old:  "if r.forgotten[name] > seen || r.leaving[bucket]",
		new:  "if r.leaving[bucket]",
	},
	{
		name: "suspects are not tried again when the breaker opens",
		file: "replay/deliver.go",
		old:  "\tcase opening:\n\t\tr.mu.Lock()\n\t\tr.takeBack(decided)",
		new:  "\tcase opening:\n\t\tr.mu.Lock()\n\t\tr.takeBack(nil)",
	},
	{
		name: "nothing is careful after a holder's death",
		file: "replay/lease.go",
		old:  "return held && l.Lapsed && !r.proven",
		new:  "return held && l.Lapsed && false && !r.proven",
	},
	{
		name: "a lane's key is not asked for",
		file: "replay/deliver.go",
		old:  "\tr.needKey(ctx, h)\n",
		new:  "",
	},
}

// cursor misses a row whose id was given before, and seen after, that of one that
// it has returned.
const cursor = `package simulate

import (
	"fmt"
	"sync"
)

type seenRows struct {
	ids  map[int64]bool
	last int64
}

var cursors sync.Map

func behind(s *store, r *row) bool {
	v, _ := cursors.LoadOrStore(fmt.Sprint(s.instance, "/", r.bucket), &seenRows{ids: map[int64]bool{}})
	c := v.(*seenRows)
	if r.id < c.last && !c.ids[r.id] {
		return true
	}
	c.ids[r.id], c.last = true, max(c.last, r.id)
	return false
}
`

var (
	playMutants = flag.Bool("mutants", false, "let TestMutants run: each mutant is compiled and lives through up to -seeds worlds")
	onlyMutants = flag.String("mutant", "", "only those whose name has this in it")
)

// TestMutants takes one mechanism out at a time and wants TestSeeds to fail.
func TestMutants(t *testing.T) {
	if !*playMutants {
		// That they still apply is checked always.
		for _, m := range mutants {
			if _, err := m.apply(); err != nil {
				t.Error(err)
			}
		}
		return
	}
	survived := 0
	for _, m := range mutants {
		if !strings.Contains(m.name, *onlyMutants) {
			continue
		}
		seed, text, err := m.play(t.TempDir())
		switch {
		case err != nil:
			t.Errorf("%s: %v", m.name, err)
		case seed == "":
			survived++
			t.Errorf("SURVIVED  %s: %s", m.name, text)
		default:
			t.Logf("killed    %s: by seed %s: %s", m.name, seed, text)
		}
	}
	t.Logf("%d mutants, %d survived", len(mutants), survived)
}

// apply returns the mutated file.
func (m mutant) apply() (string, error) {
	source, err := os.ReadFile(filepath.Join("..", m.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return "", fmt.Errorf("%s: what it replaces is %d times in %s", m.name, n, m.file)
	}
	return strings.Replace(string(source), m.old, m.new, 1), nil
}

var (
	failedSeed = regexp.MustCompile(`seed (\d+): ORDER=`)
	worldCount = regexp.MustCompile(`seeds from \d+: (\d+) worlds`)
)

// play lets worlds live with the mutant and returns the first seed that fails, ""
// for none. Nothing is copied: the compiler reads the mutated file in place of the
// other one.
func (m mutant) play(dir string) (seed, text string, err error) {
	source, err := m.apply()
	if err != nil {
		return "", "", err
	}
	changed, overlay := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(dir, "overlay.json")
	original, err := filepath.Abs(filepath.Join("..", m.file))
	if err != nil {
		return "", "", err
	}
	replace, files := map[string]string{original: changed}, map[string]string{changed: source}
	if m.more != "" {
		added := filepath.Join(dir, "mutant_test.go")
		replace[filepath.Join(filepath.Dir(original), "mutant_test.go")], files[added] = added, m.more
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return "", "", err
	}
	files[overlay] = string(list)
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", "", err
		}
	}
	began := time.Now()
	out, err := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-timeout", "30m", "-run", "TestSeeds", "-v", ".", "-args", "-first",
		"-seed", fmt.Sprint(max(*firstSeed, 1)), "-seeds", fmt.Sprint(*seedCount), "-again", "2", "-lines", "20", "-kind", *onlyKind).CombinedOutput()
	worlds := worldCount.FindSubmatch(out)
	if worlds == nil {
		return "", "", fmt.Errorf("did not run: %s", out)
	}
	text = fmt.Sprintf("%s worlds in %v", worlds[1], time.Since(began).Round(time.Second))
	if err == nil {
		return "", text, nil
	}
	found := failedSeed.FindSubmatch(out)
	if found == nil {
		return "", "", fmt.Errorf("failed without a seed: %s", out)
	}
	_, after, _ := strings.Cut(string(out), string(found[0]))
	lines := strings.SplitN(after, "\n", 3)
	again := regexp.MustCompile(`failed again \d+ times of \d+`).FindString(after)
	return string(found[1]), fmt.Sprintf("%s, %s: %s", text, again, strings.TrimSpace(lines[1])), nil
}
