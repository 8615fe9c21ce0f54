// For a team that depends on it: two replicas and more, a server with a standby
// in another zone, a vault that cannot be emptied, mail when something is wrong.
using 'main.bicep'

param name = readEnvironmentVariable('SLUICE_NAME', 'sluice-prod')
param tags = { environment: 'production' }

param appImage = readEnvironmentVariable('SLUICE_APP_IMAGE', '')
param sidecarImage = readEnvironmentVariable('SLUICE_SIDECAR_IMAGE', '')

param registry = { kind: 'new', sku: 'Standard' }
param environment = { kind: 'new', logRetentionDays: 90, zoneRedundant: false }
param vault = { kind: 'new', purgeProtection: true }
param database = {
  kind: 'new'
  auth: 'entra'
  version: '17'
  sku: 'Standard_D2ds_v5'
  tier: 'GeneralPurpose'
  storageGiB: 128
  backupDays: 35
  highAvailability: 'ZoneRedundant'
}

// `scaler-database-url` is written to the vault by hand, once: the URL of a role
// that may do no more than count, see docs/operations.md.
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

param sizes = { app: '1.0', sidecar: '0.5' }
param scale = {
  min: 2
  max: 10
  concurrentRequests: 200
  backlog: { waiting: 1000, connectionSecret: 'scaler-database-url' }
}
param alerts = { emails: [readEnvironmentVariable('SLUICE_ALERT_EMAIL', 'operations@example.com')] }
