metadata description = 'A Container Apps environment whose logs go to a workspace of its own. They are sent by a diagnostic setting: the tables then exist before the first line is logged, and no workspace key is needed.'

import { Installation, Subnets } from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Its name.')
param name string

@description('Name of the workspace.')
param workspaceName string

@description('Days that logs are kept.')
param logRetentionDays int

@description('Spread replicas over availability zones; needs a network.')
param zoneRedundant bool

@description('Subnets to join.')
param network Subnets?

resource workspace 'Microsoft.OperationalInsights/workspaces@2026-03-01' = {
  name: workspaceName
  location: installation.location
  tags: union(installation.tags, { 'sluice-role': 'workspace' })
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: logRetentionDays
    features: { disableLocalAuth: true }
  }
}

resource environment 'Microsoft.App/managedEnvironments@2026-01-01' = {
  name: name
  location: installation.location
  tags: union(installation.tags, { 'sluice-role': 'environment' })
  properties: {
    appLogsConfiguration: { destination: 'azure-monitor' }
    workloadProfiles: [{ name: 'Consumption', workloadProfileType: 'Consumption' }]
    zoneRedundant: zoneRedundant
    vnetConfiguration: network == null
      ? null
      : { infrastructureSubnetId: network!.environmentSubnetId, internal: network!.internal }
  }
}

// The only version without `preview` is of 2016 and knows no category groups.
#disable-next-line use-recent-api-versions
resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: environment
  properties: {
    workspaceId: workspace.id
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}
