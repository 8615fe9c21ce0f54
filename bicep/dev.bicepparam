// For trying things out: the least of everything, open to the internet, one
// replica, and a password for the server's administrator instead of Entra, so
// that psql and local runs can sign in. Not for webhooks that matter.
using 'main.bicep'

param name = readEnvironmentVariable('SLUICE_NAME', 'sluice-dev')
param tags = { environment: 'dev' }

param appImage = readEnvironmentVariable('SLUICE_APP_IMAGE', '')
param sidecarImage = readEnvironmentVariable('SLUICE_SIDECAR_IMAGE', '')

param database = {
  kind: 'new'
  auth: 'password'
  version: '17'
  sku: 'Standard_B1ms'
  tier: 'Burstable'
  storageGiB: 32
  backupDays: 7
  highAvailability: 'Disabled'
}
param databasePassword = readEnvironmentVariable('SLUICE_DATABASE_PASSWORD', '')

param secretVariables = ['GITHUB_WEBHOOK_SECRET', 'SLUICE_SECRET']
param secretValues = {
  GITHUB_WEBHOOK_SECRET: readEnvironmentVariable('GITHUB_WEBHOOK_SECRET', '')
  SLUICE_SECRET: readEnvironmentVariable('SLUICE_SECRET', '')
}

param sizes = { app: '0.25', sidecar: '0.25' }
param scale = { min: 1, max: 1, concurrentRequests: 100 }
param startupProbe = readEnvironmentVariable('SLUICE_STARTUP_PROBE', '5s x 40')
param sharedVariables = { LOG_LEVEL: 'debug' }
