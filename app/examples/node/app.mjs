// A small app behind Sluice's sidecar. It needs a health path; the rest is what
// any webhook app does: take a webhook, do its work once, answer.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { createServer } from 'node:http'

const { PORT, LEDGER, SLUICE_SECRET } = process.env

// The ledger stands for the app's database. It has one line for each Sluice-Id,
// which is on disk before once returns.
const file = openSync(LEDGER, 'a+')
const seen = new Set()
for (const line of readFileSync(LEDGER, 'utf8').split('\n')) {
  try { seen.add(JSON.parse(line).id) } catch { /* a line that a crash cut short */ }
}
function once (id, body) {
  if (seen.has(id)) return
  writeSync(file, JSON.stringify({ id, body: body.toString('base64') }) + '\n')
  fsyncSync(file)
  seen.add(id)
}

// The sidecar has verified the sender; this verifies the sidecar.
function fromSidecar (headers, body) {
  if (!SLUICE_SECRET) return true
  const sum = createHmac('sha256', SLUICE_SECRET)
  for (const name of ['sluice-id', 'sluice-attempt', 'sluice-received-at', 'sluice-verified']) {
    sum.update((headers[name] ?? '') + '.')
  }
  const want = Buffer.from('v1=' + sum.update(body).digest('hex'))
  const got = Buffer.from(headers['sluice-signature'] ?? '')
  return got.length === want.length && timingSafeEqual(got, want)
}

let draining = false
let active = 0

const server = createServer(async (req, res) => {
  const answer = (status, content = {}) => {
    res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(content))
  }
  if (req.url === '/healthz') return answer(draining ? 503 : 200)
  if (req.url === '/drain') {
    if (req.method === 'POST') drain()
    return answer(200, { draining, activeRequests: active, activeJobs: 0 })
  }
  if (req.method !== 'POST' || !/^\/(web)?hooks\//.test(req.url)) return answer(404)
  if (draining) return answer(503) // the sidecar holds it
  active++
  try {
    const parts = []
    for await (const part of req) parts.push(part)
    const body = Buffer.concat(parts)
    if (!fromSidecar(req.headers, body)) return answer(401)
    once(req.headers['sluice-id'], body) // before the answer: after it the sidecar no longer has it
    answer(200)
  } catch {
    answer(503)
  } finally {
    active--
    leaveIfDone()
  }
})
server.listen(PORT, '127.0.0.1')

function drain () {
  draining = true
  leaveIfDone()
}
function leaveIfDone () {
  if (!draining || active > 0) return
  server.close(() => process.exit(0))
  setTimeout(() => server.closeAllConnections(), 200)
}
process.on('SIGTERM', drain)
