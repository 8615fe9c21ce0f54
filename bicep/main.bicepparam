// A first real installation: two to three replicas, so that neither maintenance
// nor a crash leaves nobody listening, a small PostgreSQL server that is reached
// from inside the network only, sealed bodies, alerts, GitHub as the sender.
// dev.bicepparam and production.bicepparam are a smaller and a larger one.
//
// The network cannot be taken away or added later: neither the environment nor
// the server can move. Decide before the first deploy.
//
// scripts/deploy sets the variables read here. A sender's secret is given once,
// in the environment of that run; the vault keeps it, and later runs leave it
// out. BUFFER_KEY and SLUICE_SECRET are made by the first deploy.
using 'main.bicep'

param name = readEnvironmentVariable('SLUICE_NAME', 'sluice')

// Set by scripts/deploy once both images are there.
param appImage = readEnvironmentVariable('SLUICE_APP_IMAGE', '')
param sidecarImage = readEnvironmentVariable('SLUICE_SIDECAR_IMAGE', '')

param network = { kind: 'new', addressPrefix: '10.20.0.0/20', internal: false }

// Every secret that the containers read from the vault: add SLACK_SIGNING_SECRET
// and so on here and below.
param secretVariables = ['BUFFER_KEY', 'GITHUB_WEBHOOK_SECRET', 'SLUICE_SECRET']
param secretValues = {
  BUFFER_KEY: readEnvironmentVariable('BUFFER_KEY', '')
  GITHUB_WEBHOOK_SECRET: readEnvironmentVariable('GITHUB_WEBHOOK_SECRET', '')
  SLUICE_SECRET: readEnvironmentVariable('SLUICE_SECRET', '')
}

// GitHub never sends a webhook again: an error of the app is held and tried again.
param sharedVariables = { WEBHOOK_ROUTES: '/webhooks/github=github+retry' }
// Each sender's natural key; docs/senders.md names those of the others.
param sidecarVariables = { LANES: 'github:repository.full_name' }
param scale = { min: 2, max: 3, concurrentRequests: 100 }
param startupProbe = readEnvironmentVariable('SLUICE_STARTUP_PROBE', '5s x 40')
param alerts = { emails: [readEnvironmentVariable('SLUICE_ALERT_EMAIL', '')] }
