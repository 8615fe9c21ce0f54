metadata description = 'A job inside the network that gives the containers their role in PostgreSQL: `sidecar grant`, as the server\'s administrator. scripts/deploy runs it before a new revision starts.'

import { ImageLogin, Installation, appSecret } from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Resource id of the environment.')
param environmentId string

@description('Workload profile of the environment; empty for none.')
param workloadProfile string

@description('Resource id of the identity that is the server\'s administrator.')
param administratorId string

@description('Client id of it.')
param administratorClientId string

@description('Resource id of the identity that pulls and reads secrets.')
param platformId string

@description('Address that images are pulled from.')
param registryServer string

@description('How images are pulled from registries that ask for a password.')
param imageLogins ImageLogin[]

@description('Address of the vault, ending in a slash.')
param vaultUri string

@description('Image of the sidecar.')
param image string

@description('URL to sign in to the database as its administrator.')
param databaseUrl string

@description('Role that the containers sign in as.')
param runtimeRole string

@description('Object id of the identity that the role belongs to.')
param runtimeObjectId string

@description('Address of the scaler\'s password in the vault; empty for no role for the scaler.')
param scalerUrl string

resource job 'Microsoft.App/jobs@2026-01-01' = {
  name: '${installation.name}-database'
  location: installation.location
  tags: union(installation.tags, { 'sluice-role': 'database-job' })
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${administratorId}': {}, '${platformId}': {} }
  }
  properties: {
    environmentId: environmentId
    workloadProfileName: empty(workloadProfile) ? null : workloadProfile
    configuration: {
      triggerType: 'Manual'
      replicaTimeout: 300
      replicaRetryLimit: 2
      manualTriggerConfig: { parallelism: 1, replicaCompletionCount: 1 }
      registries: concat(
        [{ server: registryServer, identity: platformId }],
        map(imageLogins, login => {
          server: login.server
          username: login.username
          passwordSecretRef: appSecret(login.secret)
        })
      )
      secrets: concat(
        empty(scalerUrl) ? [] : [{ name: 'scalerpassword', keyVaultUrl: scalerUrl, identity: platformId }],
        map(imageLogins, login => {
          name: appSecret(login.secret)
          keyVaultUrl: '${vaultUri}secrets/${login.secret}'
          identity: platformId
        })
      )
      identitySettings: [
        { identity: platformId, lifecycle: 'None' }
        { identity: administratorId, lifecycle: 'Main' }
      ]
    }
    template: {
      containers: [
        {
          name: 'grant'
          image: image
          command: ['/sidecar', 'grant']
          args: concat(
            ['--role', runtimeRole, '--object-id', runtimeObjectId],
            empty(scalerUrl) ? [] : ['--scaler', 'sluice_scaler']
          )
          resources: { cpu: json('0.25'), memory: '0.5Gi' }
          env: concat(
            [
              { name: 'DATABASE_AUTH', value: 'entra' }
              { name: 'DATABASE_URL', value: databaseUrl }
              { name: 'AZURE_CLIENT_ID', value: administratorClientId }
            ],
            empty(scalerUrl) ? [] : [{ name: 'SCALER_PASSWORD', secretRef: 'scalerpassword' }]
          )
        }
      ]
    }
  }
}
