metadata description = 'The shapes of the parameters that main.bicep and its modules share.'

@export()
@description('What every resource of one installation has in common.')
type Installation = {
  @description('Base of every resource\'s name: lower case letters, digits and dashes, beginning with a letter.')
  @minLength(3)
  @maxLength(20)
  name: string

  @description('Azure region, for example westeurope.')
  location: string

  @description('Tags put on every resource: those that were asked for, and `sluice-installation`, by which the scripts find them.')
  tags: { *: string }
}

@export()
@description('What the vault calls a variable\'s value.')
func vaultSecret(variable string) string => toLower(replace(variable, '_', '-'))

@export()
@description('What the container app calls a secret of the vault. Without a dash: `az containerapp revision copy` replaces the app\'s name and a dash by nothing in every secretRef (azure-cli, containerapp/_utils.py, _update_revision_env_secretrefs).')
func appSecret(secret string) string => replace(secret, '-', '')

@export()
@description('The two images of a replica, with registry and tag.')
type Images = {
  @description('The app, with `sidecar exec` as its entrypoint.')
  app: string

  @description('The sidecar.')
  sidecar: string
}

@description('A resource that exists already and is brought in.')
type Existing = {
  kind: 'existing'

  @description('Its name.')
  name: string

  @description('The resource group it is in.')
  resourceGroup: string
}

type NewRegistry = {
  kind: 'new'

  @description('Basic does for one installation; Premium adds private endpoints and replication.')
  sku: 'Basic' | 'Standard' | 'Premium'
}

@export()
@description('The container registry: a new one, or one brought in.')
@discriminator('kind')
type Registry = NewRegistry | Existing

type NewEnvironment = {
  kind: 'new'

  @description('Days that logs are kept.')
  @minValue(30)
  @maxValue(730)
  logRetentionDays: int

  @description('Spread replicas over availability zones. Needs a network, and cannot be changed later.')
  zoneRedundant: bool
}

type ExistingEnvironment = {
  kind: 'existing'

  @description('Its name.')
  name: string

  @description('The resource group it is in.')
  resourceGroup: string

  @description('Name of the workload profile to run in, for example Consumption; without it none, which is for an environment without profiles.')
  workloadProfile: string?

  @description('Resource id of the workspace with its logs, for the alerts; an empty one says on purpose that no alert looks into the log.')
  workspaceId: string?
}

@export()
@description('The Container Apps environment: a new one with its log workspace, or one brought in.')
@discriminator('kind')
type Environment = NewEnvironment | ExistingEnvironment

type NewVault = {
  kind: 'new'

  @description('Its name, where the one that is worked out is taken by a deleted vault.')
  name: string?
}

@export()
@description('The Key Vault that holds every secret: a new one, or one brought in.')
@discriminator('kind')
type Vault = NewVault | Existing

type NewDatabase = {
  kind: 'new'

  @description('How the containers authenticate: with the identity\'s Entra token, or with a password kept in the vault.')
  auth: 'entra' | 'password'

  @description('Major version of PostgreSQL.')
  version: '15' | '16' | '17'

  @description('Compute, for example Standard_B2s. A replica takes 16 connections, and a deploy doubles the replicas; Standard_B1ms has 35 in all, so one replica.')
  sku: string

  @description('Tier that the compute belongs to.')
  tier: 'Burstable' | 'GeneralPurpose' | 'MemoryOptimized'

  @description('Storage in GiB; it grows by itself. A server at 95 % turns read-only.')
  @minValue(32)
  @maxValue(32767)
  storageGiB: int

  @description('Days of point-in-time restore.')
  @minValue(7)
  @maxValue(35)
  backupDays: int

  @description('A standby server; a failover takes 60 to 120 s. Not on Burstable.')
  highAvailability: 'Disabled' | 'SameZone' | 'ZoneRedundant'

  @description('Backups are copied to the paired region. Cannot be switched later.')
  geoBackup: bool?

  @description('When the service may restart the server; without it whenever it likes.')
  maintenance: Maintenance?
}

@export()
@description('A weekly hour, in UTC.')
type Maintenance = {
  @description('0 is Sunday.')
  @minValue(0)
  @maxValue(6)
  dayOfWeek: int

  @minValue(0)
  @maxValue(23)
  startHour: int

  @minValue(0)
  @maxValue(59)
  startMinute: int
}

type ExistingDatabase = {
  kind: 'existing'

  @description('How the containers authenticate. With `password` the vault must hold the secret database-url.')
  auth: 'entra' | 'password'

  @description('Host name of the server.')
  host: string

  @description('Database on it.')
  database: string

  @description('Role to sign in as; with `entra` the name the identity has on the server.')
  user: string
}

@export()
@description('The PostgreSQL flexible server: a new one with database and role, or one brought in.')
@discriminator('kind')
type Database = NewDatabase | ExistingDatabase

type NewNetwork = {
  kind: 'new'

  @description('Addresses of the network, a /23 or larger, for example 10.20.0.0/20.')
  addressPrefix: string

  @description('Ingress is reached from inside the network only.')
  internal: bool
}

@export()
@description('The network: a new one, or subnets to join. Without it everything has public addresses. Cannot be changed later: neither the environment nor the server can move.')
@discriminator('kind')
type Network = NewNetwork | ExistingNetwork

@export()
@description('Subnets to join.')
type Subnets = {
  @description('Subnet of the environment.')
  environmentSubnetId: string

  @description('Subnet of the server.')
  databaseSubnetId: string

  @description('Private DNS zone of the server.')
  databaseDnsZoneId: string

  @description('Ingress is reached from inside the network only.')
  internal: bool
}

type ExistingNetwork = {
  kind: 'existing'

  @description('Subnet of the environment, delegated to Microsoft.App/environments, /27 or larger.')
  environmentSubnetId: string

  @description('Subnet of the server, delegated to Microsoft.DBforPostgreSQL/flexibleServers.')
  databaseSubnetId: string

  @description('Private DNS zone, ending in postgres.database.azure.com and linked to the network.')
  databaseDnsZoneId: string

  @description('Ingress is reached from inside the network only.')
  internal: bool
}

@export()
@description('vCPU of each container; memory in GiB is twice that. Any two of these sum to a size the platform has (4 vCPU at most).')
type Sizes = {
  app: '0.25' | '0.5' | '0.75' | '1.0' | '1.25' | '1.5' | '2.0' | '2.5' | '3.0'
  sidecar: '0.25' | '0.5' | '0.75' | '1.0'
}

@export()
@description('Replicas and what adds to them.')
type Scale = {
  @description('Never 0: from zero a webhook waits for a cold start, and the sender gives up first.')
  @minValue(1)
  @maxValue(300)
  min: int

  @minValue(1)
  @maxValue(300)
  max: int

  @description('Requests in flight per replica before another one is added.')
  @minValue(1)
  @maxValue(1000)
  concurrentRequests: int

  @description('Webhooks waiting per replica before another one is added. Without it the backlog does not scale.')
  backlog: BacklogScale?
}

@description('Scaling by the backlog in PostgreSQL.')
type BacklogScale = {
  @description('Waiting webhooks per replica.')
  @minValue(1)
  waiting: int

  @description('Name of the vault\'s secret with a postgresql:// URL with a password: the scaler cannot use an identity (microsoft/azure-container-apps issue 1786). Without it the deployment makes the role, its grant and the secret scaler-database-url.')
  connectionSecret: string?
}

@export()
@description('Share of the traffic that one revision gets, in multiple-revision mode.')
type Traffic = {
  @description('Name of the revision; without it the latest one.')
  revisionName: string?

  @minValue(0)
  @maxValue(100)
  weight: int
}

@export()
@description('How revisions live together.')
type Revisions = {
  @description('Single: a new revision replaces the old one. Multiple: traffic is shared out by weight.')
  mode: 'Single' | 'Multiple'

  @description('Shares in multiple mode, 100 in sum; without it the latest revision gets everything.')
  traffic: Traffic[]?
}

@export()
@description('How patient the startup probe is. The service is documented to take a failureThreshold of 10 at most and has been seen to take 40 (microsoft/azure-container-apps issue 1100, hashicorp/terraform-provider-azurerm issue 31980): 5 s x 40, or 20 s x 10 where it refuses that.')
type StartupProbe = '5s x 40' | '20s x 10'

@export()
@description('A domain of your own. Its DNS records must be there before (learn.microsoft.com, container-apps/custom-domains-managed-certificates).')
type CustomDomain = {
  @description('Host name.')
  name: string

  @description('Resource id of a certificate of the environment; without it the platform makes and renews a managed one.')
  certificateId: string?
}

@export()
@description('Addresses that may, or may not, reach the ingress. All rules have the same action.')
type IpRule = {
  name: string

  @description('For example 140.82.112.0/20.')
  addressRange: string
  action: 'Allow' | 'Deny'
}

@export()
@description('Variables whose value comes from the vault.')
type SecretVariable =
  | 'BUFFER_KEY'
  | 'CONTROL_TOKEN'
  | 'SLUICE_SECRET'
  | 'GITHUB_APP_PRIVATE_KEY'
  | 'GITHUB_TOKEN'
  | 'SLACK_BOT_TOKEN'
  | 'SLACK_WEBHOOK_URL'
  | 'GENERIC_WEBHOOK_SECRET'
  | 'GITHUB_WEBHOOK_SECRET'
  | 'SLACK_SIGNING_SECRET'
  | 'STRIPE_WEBHOOK_SECRET'
  | 'STANDARD_WEBHOOK_SECRET'
  | 'GITLAB_WEBHOOK_TOKEN'
  | 'SHOPIFY_CLIENT_SECRET'
  | 'DISCORD_PUBLIC_KEY'
  | 'ZOOM_SECRET_TOKEN'
  | 'META_APP_SECRET'
  | 'META_VERIFY_TOKEN'
  | 'TWILIO_AUTH_TOKEN'
  | 'CLOUDEVENTS_TOKEN'
  | 'EVENTGRID_TOKEN'
  | 'GRAPH_CLIENT_STATE'

@export()
@description('Who is told when something is wrong.')
type Alerts = {
  @description('Addresses that get a mail. Empty ones are left out; without any the alerts are raised in the portal only.')
  emails: string[]

  @description('Where docs/operations.md is read: each alert links to a section of it.')
  runbook: string?
}

@export()
@description('A variable of a container\'s environment.')
type EnvironmentVariable = {
  name: string
  value: string?

  @description('Name of the secret that holds the value.')
  secretRef: string?
}

@export()
@description('The sign-in to a registry that asks for a password.')
type ImageLogin = {
  @description('Its host, ghcr.io for example.')
  server: string

  @description('Who signs in.')
  username: string

  @description('The secret of the vault that holds the password or token.')
  secret: string
}

@export()
@description('A secret of the app as it is: its name and where the platform reads it.')
type KeptSecret = {
  name: string
  keyVaultUrl: string

  @description('Resource id of the identity that reads it.')
  identity: string
}
