package settings

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Print writes the settings in effect: as a table, or as JSON where output is
// "json".
func Print(w io.Writer, values []Value, output string) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(values)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tFROM\tVALUE")
	for _, v := range values {
		from := string(v.From)
		if v.From == File {
			from += " " + v.File
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", v.Name, from, v.shown())
	}
	return table.Flush()
}

func (v Value) shown() string {
	switch {
	case v.Value != "":
		return strings.ReplaceAll(v.Value, "\n", `\n`)
	case v.unset != "":
		return "(" + strings.ReplaceAll(v.unset, "`", "") + ")"
	}
	return "-"
}

// Markdown returns the descriptions of those settings that the table and the
// Reader's struct have in common, as the table for docs: S marks a secret, T
// what the template for Azure sets itself.
func (r *Reader) Markdown(of Table) string {
	var groups []string
	rows := map[string]string{}
	for _, s := range of {
		for _, f := range r.fields {
			if f.Name != s.Name {
				continue
			}
			if rows[s.Group] == "" {
				groups = append(groups, s.Group)
			}
			rows[s.Group] += f.row()
		}
	}
	var b strings.Builder
	b.WriteString("| variable | | default | allowed | meaning |\n|---|---|---|---|---|\n")
	for _, g := range groups {
		fmt.Fprintf(&b, "| **%s** | | | | |\n%s", g, rows[g])
	}
	return b.String()
}

func (f *field) row() string {
	allowed := strings.Replace(f.allowed(f.target.Type()), durationExample, "", 1)
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", f.Name, f.marks(), f.byDefault(), allowed, f.Meaning)
}

func (f *field) marks() string {
	var marks []string
	if f.Template {
		marks = append(marks, "T")
	}
	if f.secret() {
		marks = append(marks, "S")
	}
	return strings.Join(marks, " ")
}

// byDefault breaks a list at its commas, since pages do not break code.
func (f *field) byDefault() string {
	switch {
	case f.Required:
		return "required"
	case f.Default == "":
		return f.Unset
	case f.Unit == "bytes":
		return f.Default + inBinary(f.Default)
	}
	return "`" + strings.ReplaceAll(f.Default, ",", ",` `") + "`"
}

// inBinary adds the size that people say to one in bytes.
func inBinary(bytes string) string {
	n, _ := strconv.ParseInt(bytes, 10, 64)
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf(" (%d GiB)", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf(" (%d MiB)", n>>20)
	}
	return ""
}
