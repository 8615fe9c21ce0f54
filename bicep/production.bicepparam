// For a team that depends on it: main.bicepparam, and besides zones, a server
// with a standby in another zone and copies of its backups in another region, an
// hour for its maintenance, the logs of every resource, locks.
using 'main.bicep'

param name = readEnvironmentVariable('SLUICE_NAME', 'sluice-prod')
param tags = { environment: 'production' }

param appImage = readEnvironmentVariable('SLUICE_APP_IMAGE', '')
param sidecarImage = readEnvironmentVariable('SLUICE_SIDECAR_IMAGE', '')

param network = { kind: 'new', addressPrefix: '10.20.0.0/20', internal: false }
param registry = { kind: 'new', sku: 'Standard' }
param environment = { kind: 'new', logRetentionDays: 90, zoneRedundant: true }
param database = {
  kind: 'new'
  auth: 'entra'
  version: '17'
  sku: 'Standard_D2ds_v5'
  tier: 'GeneralPurpose'
  storageGiB: 128
  backupDays: 35
  geoBackup: true
  highAvailability: 'ZoneRedundant'
  maintenance: { dayOfWeek: 0, startHour: 3, startMinute: 0 }
}

param secretVariables = [
  'BUFFER_KEY'
  'GITHUB_WEBHOOK_SECRET'
  'SLACK_SIGNING_SECRET'
  'SLUICE_SECRET'
]
param secretValues = {
  BUFFER_KEY: readEnvironmentVariable('BUFFER_KEY', '')
  GITHUB_WEBHOOK_SECRET: readEnvironmentVariable('GITHUB_WEBHOOK_SECRET', '')
  SLACK_SIGNING_SECRET: readEnvironmentVariable('SLACK_SIGNING_SECRET', '')
  SLUICE_SECRET: readEnvironmentVariable('SLUICE_SECRET', '')
}

// GitHub never sends a webhook again: an error of the app is held and tried again.
param sharedVariables = {
  WEBHOOK_ROUTES: '/webhooks/github=github+retry,/webhooks/slack/events=slack,/webhooks/slack/commands=slack+sync'
}
param sidecarVariables = { LANES: 'github:repository.full_name,slack:team_id' }
param sizes = { app: '1.0', sidecar: '0.5' }
// To scale by the backlog too: backlog: { waiting: 1000 }, see docs/azure.md.
param scale = { min: 2, max: 10, concurrentRequests: 200 }
param startupProbe = readEnvironmentVariable('SLUICE_STARTUP_PROBE', '5s x 40')
param alerts = { emails: [readEnvironmentVariable('SLUICE_ALERT_EMAIL', '')] }
param diagnostics = true
param locks = true
