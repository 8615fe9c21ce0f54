metadata description = 'Sends a vault\'s, a server\'s and a registry\'s own logs and metrics to the workspace, and locks what must not be deleted by mistake.'

@description('Resource id of the workspace; empty for no logs, where only locks are wanted.')
param workspaceId string

@description('Name of the server; empty for one that was brought in.')
param serverName string

@description('Name of the vault; empty for one that was brought in.')
param vaultName string

@description('Name of the registry; empty for one that was brought in.')
param registryName string

@description('Lock them against deletion.')
param lock bool

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' existing = if (!empty(serverName)) {
  name: serverName
}

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = if (!empty(vaultName)) {
  name: vaultName
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = if (!empty(registryName)) {
  name: registryName
}

// As Azure Verified Modules have them: every log and metric of the resource.
#disable-next-line use-recent-api-versions
resource serverLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId) && !empty(serverName)) {
  name: 'logs'
  scope: server
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

#disable-next-line use-recent-api-versions
resource vaultLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId) && !empty(vaultName)) {
  name: 'logs'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

#disable-next-line use-recent-api-versions
resource registryLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId) && !empty(registryName)) {
  name: 'logs'
  scope: registry
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

resource serverLock 'Microsoft.Authorization/locks@2020-05-01' = if (lock && !empty(serverName)) {
  name: 'keep'
  scope: server
  properties: { level: 'CanNotDelete', notes: 'Holds webhooks that were acknowledged.' }
}

resource vaultLock 'Microsoft.Authorization/locks@2020-05-01' = if (lock && !empty(vaultName)) {
  name: 'keep'
  scope: vault
  properties: { level: 'CanNotDelete', notes: 'Holds the keys that held webhooks are sealed with.' }
}
