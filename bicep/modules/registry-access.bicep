metadata description = 'Lets the identity pull from a registry. A module of its own because it is deployed to the registry\'s resource group.'

@description('Name of the registry, in the resource group this is deployed to.')
param registryName string

@description('Resource id of the identity.')
param identityId string

@description('Object id of the identity.')
param principalId string

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

@description('Role AcrPull.')
var acrPull = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '7f951dda-4ed3-4680-a7ca-43fe172d538d')

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  // Named by the identity's resource id, which what-if knows beforehand.
  name: guid(registry.id, identityId, acrPull)
  scope: registry
  properties: {
    roleDefinitionId: acrPull
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

@description('Address that images are pulled from.')
output loginServer string = registry.properties.loginServer
