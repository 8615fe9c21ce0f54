package postgres

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	embedded "github.com/fergusstrange/embedded-postgres"

	"sluice/infra/ports"
)

// installPlaces are where distributions put the server's binaries; they are
// seldom on PATH there.
var installPlaces = []string{
	"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                   // the PostgreSQL project's RPMs
	"/opt/homebrew/opt/postgresql@*/bin", // Homebrew on Apple silicon
	"/opt/homebrew/opt/postgresql/bin",   //
	"/usr/local/opt/postgresql@*/bin",    // Homebrew on Intel
	"/usr/local/opt/postgresql/bin",      //
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// findBinaries returns the directory of initdb and postgres. When none is
// installed, embedded-postgres downloads them and unpacks them under dir.
func findBinaries(dir string, progress func(string)) (string, error) {
	if bin := Installed(); bin != "" {
		return bin, nil
	}
	progress("no PostgreSQL installed, downloading one (embedded-postgres)")
	return download(filepath.Join(dir, "dist"))
}

// Installed returns the directory of an installed server's binaries: the newest of
// several, "" when there is none.
func Installed() string {
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real // initdb looks for its share directory next to the real file
		}
		if bin := filepath.Dir(path); complete(bin) {
			return bin
		}
	}
	var found []string
	for _, place := range installPlaces {
		matches, err := filepath.Glob(place)
		if err != nil {
			continue
		}
		for _, bin := range matches {
			if complete(bin) {
				found = append(found, bin)
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	sort.SliceStable(found, func(i, j int) bool { return version(found[i]) > version(found[j]) })
	return found[0]
}

func complete(bin string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(bin, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// version reads the major version from a directory such as
// /usr/lib/postgresql/15/bin; 0 when it contains none.
func version(bin string) float64 {
	name := filepath.Base(filepath.Dir(bin))
	number := strings.TrimLeftFunc(name, func(r rune) bool { return r < '0' || r > '9' })
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return v
}

// download unpacks a server under dist and returns its binaries' directory.
// embedded-postgres cannot download without starting a server, so this starts one
// and stops it at once. As root the start fails, but the binaries are there.
func download(dist string) (string, error) {
	port, err := ports.Free()
	if err != nil {
		return "", err
	}
	db := embedded.NewDatabase(embedded.DefaultConfig().
		Version(embedded.V17).
		Port(uint32(port)).
		BinariesPath(dist).
		RuntimePath(filepath.Join(dist, "run")).
		Logger(io.Discard))
	startErr := db.Start()
	if startErr == nil {
		if err := db.Stop(); err != nil {
			return "", fmt.Errorf("stop downloaded server: %w", err)
		}
	}
	bin := filepath.Join(dist, "bin")
	if !complete(bin) {
		return "", fmt.Errorf("download server: %w", startErr)
	}
	return bin, nil
}
