package settings

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"sluice/sidecar/routes"
)

func TestPrint(t *testing.T) {
	file := write(t, "hunter2")
	_, r := read(t, map[string]string{"SAMPLE_NEED": "hunter2", "SAMPLE_KEY_FILE": file, "SAMPLE_PORT": "81"})
	var table, text strings.Builder
	if err := Print(&table, r.Values(), "table"); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(table.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"NAME FROM VALUE", "SAMPLE_SIZE default 1048576", "SAMPLE_PORT environment 81", "SAMPLE_WAIT default 1s", "SAMPLE_KEEP default 168h",
		"SAMPLE_MODE default lane", "SAMPLE_ADDRESS default (everywhere)", "SAMPLE_NEED environment ***", "SAMPLE_KEY file " + file + " ***", "SAMPLE_ON default false",
	}
	if got := strings.Join(rows, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the table is\n%s", got)
	}
	if err := Print(&text, r.Values(), "json"); err != nil {
		t.Fatal(err)
	}
	var values []map[string]any
	if err := json.Unmarshal([]byte(text.String()), &values); err != nil || len(values) != len(sampleTable) {
		t.Fatalf("the JSON is %s (%v)", text.String(), err)
	}
	if key := values[7]; key["name"] != "SAMPLE_KEY" || key["value"] != "***" || key["from"] != "file" || key["file"] != file || key["secret"] != true {
		t.Errorf("the key is %v", key)
	}
	if strings.Contains(table.String()+text.String(), "hunter2") {
		t.Error("a secret is printed")
	}
}

func TestMarkdown(t *testing.T) {
	var s sample
	got := NewReader(&s, sampleTable).Markdown(Table{sampleTable[0], {Name: "ELSEWHERE"}, sampleTable[7]})
	want := "| variable | | default | allowed | meaning |\n|---|---|---|---|---|\n" +
		"| **G** | | | | |\n" +
		"| `SAMPLE_SIZE` |  | 1048576 (1 MiB) | a whole number of bytes, at least 1 | m |\n" +
		"| `SAMPLE_KEY` | S |  | a key in hexadecimal | m |\n"
	if got != want {
		t.Errorf("the table is\n%s\nwant\n%s", got, want)
	}
}

func TestDefaultRoutes(t *testing.T) {
	if _, err := routes.Parse(defaultRoutes, routes.Options{Close: true, Secret: func(string) string { return "" }}); err != nil {
		t.Error(err)
	}
	contract, err := os.ReadFile("../../docs/contract.md")
	if err != nil || !strings.Contains(string(contract), "\n"+defaultRoutes+"\n") {
		t.Errorf("docs/contract.md has other default routes (%v)", err)
	}
}
