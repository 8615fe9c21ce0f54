metadata description = 'A Key Vault whose access is given by role assignments.'

import { Installation } from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Its name: unique in the world, 24 characters at most.')
param name string

@description('Deleted secrets cannot be purged early. Cannot be switched off again.')
param purgeProtection bool

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' = {
  name: name
  location: installation.location
  tags: installation.tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    // The service knows only "true" and "never set".
    enablePurgeProtection: purgeProtection ? true : null
  }
}
