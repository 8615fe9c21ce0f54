// Everything is made new inside a network that exists, scaled by the backlog.
using '../../../bicep/main.bicep'

param name = 'sluice-private'
param location = 'westeurope'
param appImage = 'example.azurecr.io/sluice/app:1.0'
param sidecarImage = 'example.azurecr.io/sluice/sidecar:1.0'
param environment = { kind: 'new', logRetentionDays: 30, zoneRedundant: true }
param network = {
  kind: 'existing'
  environmentSubnetId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/platform/providers/Microsoft.Network/virtualNetworks/hub/subnets/apps'
  databaseSubnetId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/platform/providers/Microsoft.Network/virtualNetworks/hub/subnets/postgres'
  databaseDnsZoneId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/platform/providers/Microsoft.Network/privateDnsZones/sluice.private.postgres.database.azure.com'
  internal: true
}
param scale = { min: 1, max: 3, concurrentRequests: 100, backlog: { waiting: 500 } }
param startupProbe = '20s x 10'
