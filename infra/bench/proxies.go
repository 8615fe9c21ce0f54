package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Other proxies, each configured for this one task as its manual advises. They
// verify no signatures.

const nginxConfig = `daemon off;
worker_processes auto;
pid {dir}/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path {dir}/client;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  client_body_buffer_size 16k;
  keepalive_requests 100000000;
  upstream app {
    server {app};
    keepalive 64;
    keepalive_requests 100000000;
  }
  server {
    listen {addr};
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_request_buffering on;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
}
`

const nginx = "nginx"

const haproxyConfig = `global
  maxconn 1024
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  option forwardfor
  option http-buffer-request
  http-reuse always
frontend in
  bind {addr}
  default_backend app
backend app
  server app {app}
`

// startInstalled starts the proxies that this machine has.
func (s *stage) startInstalled(app string) (found []contender, err error) {
	for _, one := range []struct {
		name, config string
		args         func(dir, file string) []string
	}{
		{nginx, nginxConfig, func(dir, file string) []string { return []string{"-p", dir, "-c", file} }},
		{"haproxy", haproxyConfig, func(_, file string) []string { return []string{"-db", "-f", file} }},
	} {
		path := lookup(one.name)
		if path == "" {
			s.config.Progress(one.name + " is not installed, left out")
			continue
		}
		c := contender{name: one.name}
		if c.addr, err = freeAddr(); err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp(s.dir, one.name+"-")
		if err != nil {
			return nil, fmt.Errorf("make directory: %w", err)
		}
		file := filepath.Join(dir, "config")
		text := strings.NewReplacer("{dir}", dir, "{app}", app, "{addr}", c.addr).Replace(one.config)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("write configuration: %w", err)
		}
		if c.proc, err = s.start(path, one.args(dir, file), nil); err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, nil
}

// lookup finds a server's binary, which is often not on PATH.
func lookup(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}
