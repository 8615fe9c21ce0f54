metadata description = 'A user-assigned identity, so that it can be given its roles before the first replica starts.'

import { Installation } from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Its name.')
param name string

@description('What it is for: its tag sluice-role.')
param role 'identity' | 'runtime' | 'platform'

@description('Further tags.')
param tags { *: string } = {}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: installation.location
  tags: union(installation.tags, { 'sluice-role': role }, tags)
}

@description('Object id, for role assignments.')
output principalId string = identity.properties.principalId

@description('Client id, by which a container asks for this identity\'s token.')
output clientId string = identity.properties.clientId
