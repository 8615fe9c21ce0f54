"""A small app behind Sluice's sidecar. It needs a health path; the rest is what
any webhook app does: take a webhook, do its work once, answer."""

import base64
import hashlib
import hmac
import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ.get("SLUICE_SECRET", "").encode()


class Ledger:
    """Stands for the app's database. It has one line for each Sluice-Id, which
    is on disk before once returns."""

    def __init__(self, name):
        self.lock, self.seen = threading.Lock(), set()
        self.file = open(name, "a+b")
        self.file.seek(0)
        for line in self.file:
            try:
                self.seen.add(json.loads(line)["id"])
            except ValueError:
                pass  # a line that a crash cut short

    def once(self, id, body):
        with self.lock:
            if id in self.seen:
                return
            entry = {"id": id, "body": base64.b64encode(body).decode()}
            self.file.write(json.dumps(entry).encode() + b"\n")
            self.file.flush()
            os.fsync(self.file.fileno())
            self.seen.add(id)


class Work:
    """Counts the requests under way; after the drain has begun it refuses new ones."""

    def __init__(self):
        self.changed, self.active, self.draining = threading.Condition(), 0, False

    def begin(self):
        with self.changed:
            self.active += not self.draining
            return not self.draining

    def end(self):
        with self.changed:
            self.active -= 1
            self.changed.notify_all()

    def drain(self):
        with self.changed:
            self.draining = True
            self.changed.notify_all()

    def wait(self):
        with self.changed:
            self.changed.wait_for(lambda: self.draining and self.active == 0)


ledger, work = Ledger(os.environ["LEDGER"]), Work()


def from_sidecar(headers, body):
    """The sidecar has verified the sender; this verifies the sidecar."""
    if not SECRET:
        return True
    names = ("Sluice-Id", "Sluice-Attempt", "Sluice-Received-At", "Sluice-Verified")
    text = b"".join(headers.get(name, "").encode() + b"." for name in names) + body
    want = "v1=" + hmac.new(SECRET, text, hashlib.sha256).hexdigest()
    return hmac.compare_digest(want, headers.get("Sluice-Signature", ""))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open

    def answer(self, status, content=None):
        body = json.dumps(content or {}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(503 if work.draining else 200)
        elif self.path == "/drain":
            self.answer(200, {"draining": work.draining, "activeRequests": work.active, "activeJobs": 0})
        else:
            self.answer(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/drain":
            work.drain()
            return self.do_GET()
        if not self.path.startswith(("/webhooks/", "/hooks/")):
            return self.answer(404)
        if not work.begin():
            return self.answer(503)  # the sidecar holds it
        try:
            if not from_sidecar(self.headers, body):
                return self.answer(401)
            ledger.once(self.headers["Sluice-Id"], body)  # before the answer: after it the sidecar no longer has it
            self.answer(200)
        except OSError:
            self.answer(503)
        finally:
            work.end()

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True  # an idle connection does not delay the exit


signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=work.drain).start())
server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
work.wait()
server.shutdown()
