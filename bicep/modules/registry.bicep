metadata description = 'A container registry without its admin user: images are pulled with the identity.'

import { Installation } from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Its name: unique in the world, letters and digits only.')
param name string

@description('Basic, Standard or Premium.')
param sku string

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: name
  location: installation.location
  tags: union(installation.tags, { 'sluice-role': 'registry' })
  sku: { name: sku }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
  }
}
