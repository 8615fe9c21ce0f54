metadata name = 'Sluice'
metadata description = 'Sidecar and app as one Azure container app, with the PostgreSQL that holds webhooks. Deployed to a resource group, and any number of times. Without images it makes all that the container app stands on, which is the first step of scripts/deploy.'

import {
  Alerts
  CustomDomain
  Database
  Environment
  EnvironmentVariable
  ImageLogin
  IpRule
  KeptSecret
  Network
  Registry
  Revisions
  Scale
  SecretVariable
  Sizes
  StartupProbe
  Subnets
  Vault
  appSecret
  vaultSecret
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

@description('How images are pulled from a registry that asks for a password, a private ghcr.io for example.')
param imageLogins ImageLogin[] = []

@description('The Container Apps environment.')
param environment Environment = { kind: 'new', logRetentionDays: 30, zoneRedundant: false }

@description('The Key Vault with every secret.')
param vault Vault = { kind: 'new' }

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
param databasePassword string?

@description('Password of the scaler\'s role, where the deployment makes it. Letters, digits, dashes and underscores.')
@secure()
param scalerPassword string?

@description('The network; without it everything has public addresses. Cannot be changed later.')
param network Network?

@description('Reached from the internet. Senders are there; switch it off behind a gateway of your own.')
param external bool = true

@description('Domains of your own. What is set by hand is removed at each deploy.')
param customDomains CustomDomain[] = []

@description('Addresses that may, or may not, reach the ingress. What is set by hand is removed at each deploy.')
param ipRules IpRule[] = []

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

@description('How patient the startup probe is: 200 s either way.')
param startupProbe StartupProbe = '5s x 40'

@description('vCPU of each container.')
param sizes Sizes = { app: '0.5', sidecar: '0.25' }

@description('Replicas and what adds to them.')
param scale Scale = { min: 1, max: 3, concurrentRequests: 100 }

@description('How revisions live together.')
param revisions Revisions = { mode: 'Single' }

@description('Resource ids of identities that a revision from before still signs in with. scripts/deploy reads them from the app; an update takes away what it does not name.')
param previousIdentities string[] = []

@description('Secrets of the app that a revision from before still refers to. scripts/deploy reads them from the app.')
param previousSecrets KeptSecret[] = []

@description('Who is told when something is wrong; without it nobody.')
param alerts Alerts?

@description('Send the logs and metrics of server, vault and registry to the workspace as well.')
param diagnostics bool = false

@description('Lock server and vault against deletion.')
param locks bool = false

var installation = { name: name, location: location, tags: union(tags, { 'sluice-installation': name }) }
var deployApp = !empty(appImage) && !empty(sidecarImage)
var passwordAuth = database.auth == 'password'
var newPassword = database.kind == 'new' && passwordAuth
var grantedRole = database.kind == 'new' && !passwordAuth
var newScaler = grantedRole && scale.?backlog != null && scale.?backlog.?connectionSecret == null

// Names are worked out here, not by what makes the resource: so what-if knows
// them before anything exists.
var unique = uniqueString(resourceGroup().id, name)
var administratorName = '${name}-identity'
var runtimeName = '${name}-runtime'
var platformName = '${name}-platform'
var registryName = registry.?name ?? take('${replace(name, '-', '')}${unique}', 50)
var environmentName = environment.?name ?? '${name}-environment'
var workspaceName = '${name}-logs'
var vaultName = vault.?name ?? take('${name}-${unique}', 24)
var serverName = '${name}-${unique}'
var databaseName = database.?database ?? 'sluice'
var databaseUser = database.?user ?? (passwordAuth ? 'sluice' : runtimeName)

var identityType = 'Microsoft.ManagedIdentity/userAssignedIdentities'
var administratorId = resourceId(identityType, administratorName)
var runtimeId = resourceId(identityType, runtimeName)
var platformId = resourceId(identityType, platformName)

var networkName = '${name}-network'
var subnets Subnets? = network == null
  ? null
  : {
      environmentSubnetId: network!.?environmentSubnetId ?? resourceId(
        'Microsoft.Network/virtualNetworks/subnets',
        networkName,
        'environment'
      )
      databaseSubnetId: network!.?databaseSubnetId ?? resourceId(
        'Microsoft.Network/virtualNetworks/subnets',
        networkName,
        'database'
      )
      databaseDnsZoneId: network!.?databaseDnsZoneId ?? resourceId(
        'Microsoft.Network/privateDnsZones',
        '${name}.private.postgres.database.azure.com'
      )
      internal: network!.internal
    }

// Three identities. The platform alone uses one, to pull images and read
// secrets. The containers have one that is a plain role of the database. The
// server's administrator is had by the database job alone.
module platform 'modules/identity.bicep' = {
  params: {
    installation: installation
    name: platformName
    role: 'platform'
    // By these the scripts find what was brought in.
    tags: { 'sluice-registry': registryName, 'sluice-vault': vaultName }
  }
}

module runtime 'modules/identity.bicep' = {
  params: { installation: installation, name: runtimeName, role: 'runtime' }
}

module administrator 'modules/identity.bicep' = if (grantedRole) {
  params: { installation: installation, name: administratorName, role: 'identity' }
}

module newNetwork 'modules/network.bicep' = if (network.?kind == 'new') {
  params: { installation: installation, addressPrefix: network.?addressPrefix ?? '' }
}

module newRegistry 'modules/registry.bicep' = if (registry.kind == 'new') {
  params: { installation: installation, name: registryName, sku: registry.?sku ?? 'Basic' }
}

module registryAccess 'modules/registry-access.bicep' = {
  scope: resourceGroup(registry.?resourceGroup ?? resourceGroup().name)
  params: {
    registryName: registryName
    identityId: platformId
    principalId: platform.outputs.principalId
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
    network: subnets
  }
  dependsOn: [newNetwork]
}

resource usedEnvironment 'Microsoft.App/managedEnvironments@2026-01-01' existing = {
  name: environmentName
  scope: resourceGroup(environment.?resourceGroup ?? resourceGroup().name)
}

module newVault 'modules/vault.bicep' = if (vault.kind == 'new') {
  params: { installation: installation, name: vaultName }
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
    geoBackup: database.?geoBackup ?? false
    maintenance: database.?maintenance
    network: subnets
    password: databasePassword ?? ''
    passwordsToo: newScaler
  }
  dependsOn: [newNetwork]
}

module databaseRole 'modules/database-role.bicep' = if (grantedRole) {
  params: {
    serverName: serverName
    identityName: administratorName
    // The service names the role by this id; what-if cannot show it beforehand.
    #disable-next-line what-if-short-circuiting
    principalId: administrator!.outputs.principalId
  }
  dependsOn: [newDatabase]
}

var databaseHost = database.?host ?? newDatabase!.outputs.host

var scalerNames = newScaler ? ['scaler-password', 'scaler-database-url'] : []
var given = filter(items(secretValues), entry => !empty(entry.value))

module vaultAccess 'modules/vault-access.bicep' = {
  scope: resourceGroup(vault.?resourceGroup ?? resourceGroup().name)
  params: {
    vaultName: vaultName
    identityId: platformId
    principalId: platform.outputs.principalId
    names: union(
      map(secretVariables, variable => vaultSecret(variable)),
      newPassword ? ['database-url'] : [],
      scalerNames
    )
    given: concat(
      map(given, entry => vaultSecret(entry.key)),
      empty(databasePassword) ? [] : ['database-url'],
      empty(scalerPassword) ? [] : scalerNames
    )
    values: union(
      mapValues(toObject(given, entry => vaultSecret(entry.key)), entry => entry.value),
      newPassword && !empty(databasePassword)
        ? {
            'database-url': 'postgres://${databaseUser}:${databasePassword!}@${databaseHost}:5432/${databaseName}?sslmode=verify-full'
          }
        : {},
      newScaler && !empty(scalerPassword)
        ? {
            'scaler-password': scalerPassword!
            'scaler-database-url': 'postgresql://sluice_scaler:${scalerPassword!}@${databaseHost}:5432/${databaseName}?sslmode=require'
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
      { name: 'DATABASE_URL', secretRef: appSecret('database-url') }
    ]
  : [
      { name: 'DATABASE_AUTH', value: 'entra' }
      {
        name: 'DATABASE_URL'
        value: 'postgres://${databaseUser}@${databaseHost}:5432/${databaseName}?sslmode=verify-full'
      }
      { name: 'AZURE_CLIENT_ID', value: runtime.outputs.clientId }
    ]

// The sidecar alone holds webhooks and is talked to by operators.
var sidecarOnly = ['BUFFER_KEY', 'CONTROL_TOKEN', 'GENERIC_WEBHOOK_SECRET']

// The app alone acts in the operator's name.
var appOnly = ['GITHUB_APP_PRIVATE_KEY', 'GITHUB_TOKEN', 'SLACK_BOT_TOKEN', 'SLACK_WEBHOOK_URL']

var secretEnv EnvironmentVariable[] = map(secretVariables, variable => {
  name: variable
  secretRef: appSecret(vaultSecret(variable))
})

func plain(variables { *: string }) EnvironmentVariable[] =>
  map(items(variables), entry => { name: entry.key, value: entry.value })

// An environment without workload profiles takes no name of one.
var workloadProfile = environment.kind == 'new' ? 'Consumption' : environment.?workloadProfile ?? ''

module databaseJob 'modules/database-job.bicep' = if (grantedRole && !empty(sidecarImage)) {
  params: {
    installation: installation
    environmentId: usedEnvironment.id
    workloadProfile: workloadProfile
    administratorId: administratorId
    administratorClientId: administrator!.outputs.clientId
    platformId: platformId
    registryServer: registryAccess.outputs.loginServer
    imageLogins: imageLogins
    vaultUri: vaultAccess.outputs.uri
    image: sidecarImage
    databaseUrl: 'postgres://${administratorName}@${databaseHost}:5432/${databaseName}?sslmode=verify-full'
    runtimeRole: runtimeName
    runtimeObjectId: runtime.outputs.principalId
    scalerUrl: newScaler ? '${vaultAccess.outputs.uri}secrets/scaler-password' : ''
  }
  dependsOn: [newEnvironment, databaseRole]
}

module containerApp 'modules/container-app.bicep' = if (deployApp) {
  params: {
    installation: installation
    environmentId: usedEnvironment.id
    workloadProfile: workloadProfile
    platformId: platformId
    runtimeId: runtimeId
    registryServer: registryAccess.outputs.loginServer
    imageLogins: imageLogins
    previousIdentities: previousIdentities
    previousSecrets: previousSecrets
    vaultUri: vaultAccess.outputs.uri
    images: { app: appImage, sidecar: sidecarImage }
    secretNames: union(
      passwordAuth ? ['database-url'] : [],
      map(secretVariables, variable => vaultSecret(variable)),
      scale.?backlog == null ? [] : [scale.?backlog.?connectionSecret ?? 'scaler-database-url'],
      map(imageLogins, login => login.secret)
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
    startupProbe: startupProbe
    appLivenessPath: appLivenessPath
    external: external
    customDomains: customDomains
    ipRules: ipRules
  }
  // Replicas sign in to the database and are reached in the environment.
  dependsOn: [newEnvironment, databaseRole]
}

var workspaceId = environment.kind == 'new'
  ? resourceId('Microsoft.OperationalInsights/workspaces', workspaceName)
  : environment.?workspaceId ?? (alerts == null
      ? ''
      : fail('alerts with an environment that was brought in: give its workspaceId, or an empty one for none that looks into the log'))

module people 'modules/alerts.bicep' = if (alerts != null) {
  params: {
    installation: installation
    alerts: alerts!
    containerAppId: deployApp ? resourceId('Microsoft.App/containerApps', name) : ''
    askFromOutside: deployApp && external
    fqdn: deployApp ? containerApp!.outputs.fqdn : ''
    workspaceId: workspaceId
    serverId: database.kind == 'new' ? resourceId('Microsoft.DBforPostgreSQL/flexibleServers', serverName) : ''
  }
  dependsOn: [newEnvironment]
}

module records 'modules/diagnostics.bicep' = if (diagnostics || locks) {
  params: {
    workspaceId: diagnostics ? workspaceId : ''
    serverName: database.kind == 'new' ? serverName : ''
    vaultName: vault.kind == 'new' ? vaultName : ''
    registryName: registry.kind == 'new' ? registryName : ''
    lock: locks
  }
  dependsOn: [newDatabase, newEnvironment, newRegistry, newVault, databaseRole]
}

@description('Name of the registry, for `az acr build`.')
output registryName string = registryName

@description('Name of the vault.')
output vaultName string = vaultName

@description('Name of the container app, for `az containerapp`.')
output containerAppName string = name

@description('Name of the job that gives the containers their role in the database; `none` where there is none.')
output databaseJobName string = grantedRole ? '${name}-database' : 'none'

@description('Host name that senders post to; empty before the first deploy with images.')
output fqdn string = deployApp ? containerApp!.outputs.fqdn : ''
