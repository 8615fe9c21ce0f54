metadata description = 'A network with a subnet for the environment and one for the server, and the private DNS zone by which the server is found.'

import { Installation } from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Addresses of the network.')
param addressPrefix string

var role = union(installation.tags, { 'sluice-role': 'network' })

resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: '${installation.name}-network'
  location: installation.location
  tags: role
  properties: {
    addressSpace: { addressPrefixes: [addressPrefix] }
    // In the network itself: as children they would be removed at each deploy.
    subnets: [
      {
        name: 'environment'
        properties: {
          // /27 is the least that a workload-profile environment takes.
          addressPrefix: cidrSubnet(addressPrefix, 24, 0)
          delegations: [{ name: 'apps', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
      {
        name: 'database'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 24, 1)
          delegations: [
            { name: 'postgres', properties: { serviceName: 'Microsoft.DBforPostgreSQL/flexibleServers' } }
          ]
        }
      }
    ]
  }
}

// The name must end so, and must not be the server's own
// (learn.microsoft.com, postgresql/flexible-server/concepts-networking-private).
resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: '${installation.name}.private.postgres.database.azure.com'
  location: 'global'
  tags: role
}

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: zone
  name: 'network'
  location: 'global'
  tags: role
  properties: {
    registrationEnabled: false
    virtualNetwork: { id: network.id }
  }
}
