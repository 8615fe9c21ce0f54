metadata description = 'A Key Vault whose access is given by role assignments.'

import { Installation } from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Its name: unique in the world, 24 characters at most.')
param name string

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' = {
  name: name
  location: installation.location
  tags: union(installation.tags, { 'sluice-role': 'vault' })
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    // Held webhooks are sealed with a key in here: a deleted vault can be
    // brought back for 90 days, and nobody can empty it before.
    enablePurgeProtection: true
  }
}
