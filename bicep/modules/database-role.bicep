metadata description = 'Makes the identity a role of the PostgreSQL server. A module of its own, since the role is named by an id that is known only once the identity exists.'

@description('Name of the server, in this resource group.')
param serverName string

@description('Name of the identity, which becomes the name of the role.')
param identityName string

@description('Object id of the identity.')
param principalId string

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' existing = {
  name: serverName
}

resource role 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = {
  parent: server
  name: principalId
  properties: {
    principalType: 'ServicePrincipal'
    principalName: identityName
    tenantId: tenant().tenantId
  }
}
