// Everything that can be brought in is, and revisions share the traffic.
using '../../../bicep/main.bicep'

param name = 'sluice-guest'
param location = 'westeurope'
param appImage = 'shared.azurecr.io/sluice/app:1.0'
param sidecarImage = 'shared.azurecr.io/sluice/sidecar:1.0'
param registry = { kind: 'existing', name: 'shared', resourceGroup: 'platform' }
param imageLogins = [{ server: 'ghcr.io', username: 'octocat', secret: 'ghcr-token' }]
param environment = {
  kind: 'existing'
  name: 'shared'
  resourceGroup: 'platform'
  workloadProfile: 'D4'
  workspaceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/platform/providers/Microsoft.OperationalInsights/workspaces/shared'
}
param vault = { kind: 'existing', name: 'shared-vault', resourceGroup: 'secrets' }
param database = {
  kind: 'existing'
  auth: 'password'
  host: 'shared.postgres.database.azure.com'
  database: 'sluice'
  user: 'sluice'
}
param secretVariables = [
  'BUFFER_KEY'
  'CONTROL_TOKEN'
  'SLUICE_SECRET'
  'GITHUB_APP_PRIVATE_KEY'
  'GITHUB_TOKEN'
  'SLACK_BOT_TOKEN'
  'SLACK_WEBHOOK_URL'
  'GENERIC_WEBHOOK_SECRET'
  'GITHUB_WEBHOOK_SECRET'
  'SLACK_SIGNING_SECRET'
  'STRIPE_WEBHOOK_SECRET'
  'STANDARD_WEBHOOK_SECRET'
  'GITLAB_WEBHOOK_TOKEN'
  'SHOPIFY_CLIENT_SECRET'
  'DISCORD_PUBLIC_KEY'
  'ZOOM_SECRET_TOKEN'
  'META_APP_SECRET'
  'META_VERIFY_TOKEN'
  'TWILIO_AUTH_TOKEN'
  'CLOUDEVENTS_TOKEN'
  'EVENTGRID_TOKEN'
  'GRAPH_CLIENT_STATE'
]
param sharedVariables = { LOG_FORMAT: 'json' }
param appVariables = { MAX_WORKERS: '20' }
param sidecarVariables = { ORDER: 'strict', STARTUP_GATE: 'buffer' }
param external = false
param customDomains = [
  { name: 'hooks.example.com' }
  {
    name: 'hooks.example.org'
    certificateId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/platform/providers/Microsoft.App/managedEnvironments/shared/certificates/example'
  }
]
param ipRules = [{ name: 'github', addressRange: '140.82.112.0/20', action: 'Allow' }]
param appLivenessPath = '/drain'
param terminationGracePeriodSeconds = 600
param shutdownGraceMs = 560000
param sizes = { app: '3.0', sidecar: '1.0' }
param scale = {
  min: 3
  max: 30
  concurrentRequests: 50
  backlog: { waiting: 500, connectionSecret: 'database-url' }
}
param revisions = {
  mode: 'Multiple'
  traffic: [{ revisionName: 'sluice-guest--0000001', weight: 80 }, { weight: 20 }]
}
param alerts = { emails: ['operations@example.com'] }
// As scripts/deploy passes them on an upgrade.
param previousIdentities = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/sluice/providers/Microsoft.ManagedIdentity/userAssignedIdentities/sluice-guest-identity'
]
param previousSecrets = [
  {
    name: 'sluice-secret'
    keyVaultUrl: 'https://shared-vault.vault.azure.net/secrets/sluice-secret'
    identity: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/sluice/providers/Microsoft.ManagedIdentity/userAssignedIdentities/sluice-guest-identity'
  }
]
