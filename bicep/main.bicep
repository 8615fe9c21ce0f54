metadata name = 'Sluice'
metadata description = 'Sidecar and app as one Azure container app, with the PostgreSQL that holds webhooks. Deployed to a resource group, and any number of times. Without images it makes all that the container app stands on, which is the first step of scripts/deploy.'

import {
  Alerts
  Database
  Environment
  EnvironmentVariable
  Network
  Registry
  Revisions
  Scale
  SecretVariable
  Sizes
  Vault
} from 'modules/types.bicep'

@description('Base of every resource\'s name: lower case letters, digits and dashes, beginning with a letter.')
@minLength(3)
@maxLength(20)
param name string

@description('Azure region.')
param location string = resourceGroup().location

@description('Tags put on every resource.')
param tags { *: string } = {}

@description('Image of the app. Empty, as is the sidecar\'s: no container app yet.')
param appImage string = ''

@description('Image of the sidecar.')
param sidecarImage string = ''

@description('The container registry.')
param registry Registry = { kind: 'new', sku: 'Basic' }

@description('The Container Apps environment.')
param environment Environment = { kind: 'new', logRetentionDays: 30, zoneRedundant: false }

@description('The Key Vault with every secret.')
param vault Vault = { kind: 'new', purgeProtection: false }

@description('The PostgreSQL server.')
param database Database = {
  kind: 'new'
  auth: 'entra'
  version: '17'
  sku: 'Standard_B2s'
  tier: 'Burstable'
  storageGiB: 32
  backupDays: 7
  highAvailability: 'Disabled'
}

@description('Password of a new server\'s administrator, for password authentication. Letters, digits, dashes and underscores, since it becomes part of a URL.')
@secure()
param databasePassword string = ''

@description('Subnets to join; without them everything has public addresses.')
param network Network?

@description('Reached from the internet. Senders are there; switch it off behind a gateway of your own.')
param external bool = true

@description('Variables whose value comes from the vault, where the secret has the same name in lower case with dashes.')
param secretVariables SecretVariable[] = []

@description('Values to write to the vault, by variable. What is empty or not here stays as the vault has it.')
@secure()
param secretValues { *: string } = {}

@description('Further variables of both containers, which are no secrets.')
param sharedVariables { *: string } = {}

@description('Further variables of the app, which are no secrets.')
param appVariables { *: string } = {}

@description('Further variables of the sidecar, which are no secrets.')
param sidecarVariables { *: string } = {}

@description('Seconds between SIGTERM and SIGKILL. Both containers are told, so that they agree.')
@minValue(30)
@maxValue(600)
param terminationGracePeriodSeconds int = 330

@description('Milliseconds the app waits for its requests and jobs before it extends the wait once.')
@minValue(1000)
@maxValue(600000)
param shutdownGraceMs int = 300000

@description('Path that shows the app alive whatever its database does; empty asks for nothing but an open port.')
param appLivenessPath string = ''

@description('vCPU of each container.')
param sizes Sizes = { app: '0.5', sidecar: '0.25' }

@description('Replicas and what adds to them.')
param scale Scale = { min: 1, max: 3, concurrentRequests: 100 }

@description('How revisions live together.')
param revisions Revisions = { mode: 'Single' }

@description('Who is told when something is wrong; without it nobody.')
param alerts Alerts?

var installation = { name: name, location: location, tags: tags }
var deployApp = !empty(appImage) && !empty(sidecarImage)
var passwordAuth = database.auth == 'password'
var newPassword = database.kind == 'new' && passwordAuth

// Names are worked out here, not by what makes the resource: so what-if knows
// them before anything exists.
var unique = uniqueString(resourceGroup().id, name)
var identityName = '${name}-identity'
var registryName = registry.?name ?? take('${replace(name, '-', '')}${unique}', 50)
var environmentName = environment.?name ?? '${name}-environment'
var workspaceName = '${name}-logs'
var vaultName = vault.?name ?? take('${name}-${unique}', 24)
var serverName = '${name}-${unique}'
var databaseName = database.?database ?? 'sluice'
var databaseUser = database.?user ?? (passwordAuth ? 'sluice' : identityName)

var identityId = resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', identityName)

module identity 'modules/identity.bicep' = {
  params: { installation: installation, name: identityName }
}

module newRegistry 'modules/registry.bicep' = if (registry.kind == 'new') {
  params: { installation: installation, name: registryName, sku: registry.?sku ?? 'Basic' }
}

module registryAccess 'modules/registry-access.bicep' = {
  scope: resourceGroup(registry.?resourceGroup ?? resourceGroup().name)
  params: {
    registryName: registryName
    identityId: identityId
    principalId: identity.outputs.principalId
  }
  dependsOn: [newRegistry]
}

module newEnvironment 'modules/environment.bicep' = if (environment.kind == 'new') {
  params: {
    installation: installation
    name: environmentName
    workspaceName: workspaceName
    logRetentionDays: environment.?logRetentionDays ?? 30
    zoneRedundant: environment.?zoneRedundant ?? false
    network: network
  }
}

resource usedEnvironment 'Microsoft.App/managedEnvironments@2026-01-01' existing = {
  name: environmentName
  scope: resourceGroup(environment.?resourceGroup ?? resourceGroup().name)
}

module newVault 'modules/vault.bicep' = if (vault.kind == 'new') {
  params: { installation: installation, name: vaultName, purgeProtection: vault.?purgeProtection ?? false }
}

module newDatabase 'modules/database.bicep' = if (database.kind == 'new') {
  params: {
    installation: installation
    name: serverName
    databaseName: databaseName
    administrator: databaseUser
    auth: database.auth
    version: database.?version ?? '17'
    sku: database.?sku ?? 'Standard_B2s'
    tier: database.?tier ?? 'Burstable'
    storageGiB: database.?storageGiB ?? 32
    backupDays: database.?backupDays ?? 7
    highAvailability: database.?highAvailability ?? 'Disabled'
    network: network
    password: databasePassword
  }
}

module databaseRole 'modules/database-role.bicep' = if (database.kind == 'new' && !passwordAuth) {
  params: {
    serverName: serverName
    identityName: identityName
    // The service names the role by this id; what-if cannot show it beforehand.
    #disable-next-line what-if-short-circuiting
    principalId: identity.outputs.principalId
  }
  dependsOn: [newDatabase]
}

var databaseHost = database.?host ?? newDatabase!.outputs.host

// What the vault calls a variable's value.
func secretName(variable string) string => toLower(replace(variable, '_', '-'))

module vaultAccess 'modules/vault-access.bicep' = {
  scope: resourceGroup(vault.?resourceGroup ?? resourceGroup().name)
  params: {
    vaultName: vaultName
    identityId: identityId
    principalId: identity.outputs.principalId
    names: union(map(secretVariables, variable => secretName(variable)), newPassword ? ['database-url'] : [])
    given: concat(
      map(filter(items(secretValues), entry => !empty(entry.value)), entry => secretName(entry.key)),
      empty(databasePassword) ? [] : ['database-url']
    )
    values: union(
      mapValues(toObject(items(secretValues), entry => secretName(entry.key)), entry => entry.value),
      newPassword && !empty(databasePassword)
        ? {
            'database-url': 'postgres://${databaseUser}:${databasePassword}@${databaseHost}:5432/${databaseName}?sslmode=verify-full'
          }
        : {}
    )
  }
  dependsOn: [newVault]
}

// With Entra the URL holds no secret: the password is a token that the
// containers fetch for each connection.
var databaseEnv EnvironmentVariable[] = passwordAuth
  ? [
      { name: 'DATABASE_AUTH', value: 'password' }
      { name: 'DATABASE_URL', secretRef: 'database-url' }
    ]
  : [
      { name: 'DATABASE_AUTH', value: 'entra' }
      {
        name: 'DATABASE_URL'
        value: 'postgres://${databaseUser}@${databaseHost}:5432/${databaseName}?sslmode=verify-full'
      }
      { name: 'AZURE_CLIENT_ID', value: identity.outputs.clientId }
    ]

// The sidecar alone holds webhooks and is talked to by operators.
var sidecarOnly = ['BUFFER_KEY', 'CONTROL_TOKEN', 'GENERIC_WEBHOOK_SECRET']

// The app alone acts in the operator's name.
var appOnly = ['GITHUB_APP_PRIVATE_KEY', 'GITHUB_TOKEN', 'SLACK_BOT_TOKEN', 'SLACK_WEBHOOK_URL']

var secretEnv EnvironmentVariable[] = map(secretVariables, variable => {
  name: variable
  secretRef: secretName(variable)
})

func plain(variables { *: string }) EnvironmentVariable[] =>
  map(items(variables), entry => { name: entry.key, value: entry.value })

module containerApp 'modules/container-app.bicep' = if (deployApp) {
  params: {
    installation: installation
    environmentId: usedEnvironment.id
    identityId: identityId
    registryServer: registryAccess.outputs.loginServer
    vaultUri: vaultAccess.outputs.uri
    images: { app: appImage, sidecar: sidecarImage }
    secretNames: union(
      passwordAuth ? ['database-url'] : [],
      map(secretVariables, variable => secretName(variable)),
      scale.?backlog == null ? [] : [scale.backlog!.connectionSecret]
    )
    sharedEnv: concat(
      databaseEnv,
      filter(secretEnv, entry => !contains(concat(sidecarOnly, appOnly), entry.name)),
      plain(sharedVariables)
    )
    appEnv: concat(
      [{ name: 'SHUTDOWN_GRACE_MS', value: string(shutdownGraceMs) }],
      filter(secretEnv, entry => contains(appOnly, entry.name)),
      plain(appVariables)
    )
    sidecarEnv: concat(filter(secretEnv, entry => contains(sidecarOnly, entry.name)), plain(sidecarVariables))
    sizes: sizes
    scale: scale
    revisions: revisions
    terminationGracePeriodSeconds: terminationGracePeriodSeconds
    appLivenessPath: appLivenessPath
    external: external
  }
  // Replicas sign in to the database and are reached in the environment.
  dependsOn: [newEnvironment, databaseRole]
}

module people 'modules/alerts.bicep' = if (alerts != null) {
  params: {
    installation: installation
    alerts: alerts!
    containerAppId: deployApp ? resourceId('Microsoft.App/containerApps', name) : ''
    containerAppName: name
    workspaceId: environment.kind == 'new' ? resourceId('Microsoft.OperationalInsights/workspaces', workspaceName) : ''
    serverId: database.kind == 'new' ? resourceId('Microsoft.DBforPostgreSQL/flexibleServers', serverName) : ''
  }
  dependsOn: [containerApp, newDatabase, newEnvironment]
}

@description('Name of the registry, for `az acr build`.')
output registryName string = registryName

@description('Address that images are pulled from.')
output registryServer string = registryAccess.outputs.loginServer

@description('Name of the vault.')
output vaultName string = vaultName

@description('Name of the container app, for `az containerapp`.')
output containerAppName string = name

@description('Host name that senders post to; empty before the first deploy with images.')
output fqdn string = deployApp ? containerApp!.outputs.fqdn : ''

@description('Name of the identity, which is also its role in PostgreSQL.')
output identityName string = identityName
