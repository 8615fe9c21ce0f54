package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hash/fnv"

	"sluice/infra/rehearsal/verdict"
	"sluice/infra/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestRecordersShareAFile(t *testing.T) {
	recorder, file := testkit.PlainProgram(t, "sluice/infra/cmd/recorder"), filepath.Join(t.TempDir(), "records.tsv")
	payload := func(i int) string {
		return fmt.Sprintf(`{"rehearsal_id":"w%d","work_ms":0,"padding":%q}`, i, strings.Repeat("x", 20_000*(i%2)))
	}
	const n = 40
	began := time.Now()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			cmd := exec.Command(recorder, file)
			cmd.Stdin = strings.NewReader(payload(i))
			cmd.Env = append(os.Environ(), fmt.Sprintf("SLUICE_ID=s%d", i))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	lines, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	records, err := verdict.ReadRecords(lines)
	if err != nil || len(records) != n {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		var i int
		if _, err := fmt.Sscanf(r.ID, "w%d", &i); err != nil {
			t.Fatal(err)
		}
		hash := fnv.New64a()
		hash.Write([]byte(payload(i)))
		if r.SluiceID != fmt.Sprint("s", i) || r.Hash != hash.Sum64() || r.Bytes != len(payload(i)) {
			t.Errorf("record %+v", r)
		}
		if age := time.Since(r.At); age < 0 || r.At.Before(began) {
			t.Errorf("recorded %s ago", age)
		}
	}
}

func TestWorkTakesItsTime(t *testing.T) {
	cmd := exec.Command(testkit.PlainProgram(t, "sluice/infra/cmd/recorder"), filepath.Join(t.TempDir(), "records.tsv"))
	cmd.Stdin = strings.NewReader(`{"rehearsal_id":"w","work_ms":300}`)
	start := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("took %s", took)
	}
}

func TestFailureIsAnExitCode(t *testing.T) {
	recorder := testkit.PlainProgram(t, "sluice/infra/cmd/recorder")
	for _, args := range [][]string{nil, {filepath.Join(t.TempDir(), "missing", "records.tsv")}} {
		out, err := exec.Command(recorder, args...).CombinedOutput()
		if err == nil || !strings.HasPrefix(string(out), "recorder: ") {
			t.Errorf("%v: %v, %q", args, err, out)
		}
	}
}
