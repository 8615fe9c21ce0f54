metadata description = 'Writes the secrets that were handed in and lets the identity read the vault. A module of its own because it is deployed to the vault\'s resource group.'

@description('Name of the vault, in the resource group this is deployed to.')
param vaultName string

@description('Resource id of the identity.')
param identityId string

@description('Object id of the identity.')
param principalId string

@description('Names of the secrets that the containers read.')
param names string[]

@description('Those of them to write; the others stay as the vault has them.')
param given string[]

@description('Value of each secret to write, by name.')
@secure()
param values { *: string }

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = {
  name: vaultName
}

@description('Role Key Vault Secrets User.')
var secretsUser = subscriptionResourceId(
  'Microsoft.Authorization/roleDefinitions',
  '4633458b-17de-408a-b874-0445c86b69e6'
)

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  // Named by the identity's resource id, which what-if knows beforehand.
  name: guid(vault.id, identityId, secretsUser)
  scope: vault
  properties: {
    roleDefinitionId: secretsUser
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource written 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = [
  for name in names: if (contains(given, name)) {
    parent: vault
    name: name
    properties: { value: values[name] }
  }
]

@description('Address of the vault, ending in a slash.')
output uri string = vault.properties.vaultUri
