metadata description = 'A PostgreSQL flexible server with one database.'

import { Installation, Maintenance, Subnets } from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Its name, unique in the world.')
param name string

@description('Name of the database to make.')
param databaseName string

@description('Name of the administrator, for password authentication.')
param administrator string

@description('With the identity\'s Entra token, or with a password.')
param auth 'entra' | 'password'

@description('Major version.')
param version string

@description('Compute.')
param sku string

@description('Tier that the compute belongs to.')
param tier string

@description('Storage in GiB.')
param storageGiB int

@description('Days of point-in-time restore.')
param backupDays int

@description('A standby server.')
param highAvailability string

@description('Copy backups to the paired region.')
param geoBackup bool

@description('When the service may restart the server.')
param maintenance Maintenance?

@description('Subnets to join.')
param network Subnets?

@description('Password of the administrator, for password authentication. Empty leaves the one it has.')
@secure()
param password string

@description('With Entra, let roles with a password sign in too: the scaler has no identity.')
param passwordsToo bool

@description('Nobody knows it: it is made anew at each deployment, for an administrator that nobody uses but that password sign-in wants.')
@secure()
param unused string = newGuid()

var passwords = auth == 'password' || passwordsToo

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: name
  location: installation.location
  tags: union(installation.tags, { 'sluice-role': 'server' })
  sku: { name: sku, tier: tier }
  properties: {
    version: version
    createMode: 'Default'
    authConfig: {
      activeDirectoryAuth: auth == 'entra' ? 'Enabled' : 'Disabled'
      passwordAuth: passwords ? 'Enabled' : 'Disabled'
      tenantId: auth == 'entra' ? tenant().tenantId : null
    }
    administratorLogin: auth == 'password' ? administrator : passwordsToo ? 'sluice_unused' : null
    administratorLoginPassword: auth == 'password'
      ? (empty(password) ? null : password)
      : passwordsToo ? 'Aa1-${unused}' : null
    storage: { storageSizeGB: storageGiB, autoGrow: 'Enabled' }
    backup: { backupRetentionDays: backupDays, geoRedundantBackup: geoBackup ? 'Enabled' : 'Disabled' }
    highAvailability: { mode: highAvailability }
    maintenanceWindow: maintenance == null
      ? { customWindow: 'Disabled' }
      : {
          customWindow: 'Enabled'
          dayOfWeek: maintenance!.dayOfWeek
          startHour: maintenance!.startHour
          startMinute: maintenance!.startMinute
        }
    network: network == null
      ? { publicNetworkAccess: 'Enabled' }
      : {
          delegatedSubnetResourceId: network!.databaseSubnetId
          privateDnsZoneArmResourceId: network!.databaseDnsZoneId
        }
  }
}

// The server does one thing at a time, so what is made on it waits in turn.
resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2025-08-01' = {
  parent: server
  name: databaseName
  properties: { charset: 'UTF8', collation: 'en_US.utf8' }
}

// 0.0.0.0 stands for every address inside Azure; Entra or the password keeps
// others out. A network replaces this rule.
resource azureOnly 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2025-08-01' = if (network == null) {
  parent: server
  name: 'azure'
  properties: { startIpAddress: '0.0.0.0', endIpAddress: '0.0.0.0' }
  dependsOn: [database]
}

@description('Host name.')
output host string = server.properties.fullyQualifiedDomainName
