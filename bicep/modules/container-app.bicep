metadata description = 'The container app: app and sidecar in one replica, ingress to the sidecar.'

import {
  CustomDomain
  EnvironmentVariable
  ImageLogin
  Images
  Installation
  IpRule
  KeptSecret
  Revisions
  Scale
  Sizes
  StartupProbe
  appSecret
} from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Resource id of the environment.')
param environmentId string

@description('Workload profile of the environment; empty for none.')
param workloadProfile string

@description('Resource id of the identity that pulls and reads secrets.')
param platformId string

@description('Resource id of the identity that the containers sign in to the database with.')
param runtimeId string

@description('Address that images are pulled from.')
param registryServer string

@description('How images are pulled from registries that ask for a password.')
param imageLogins ImageLogin[]

@description('Identities that a revision from before signs in with.')
param previousIdentities string[]

@description('Secrets that a revision from before refers to.')
param previousSecrets KeptSecret[]

@description('Address of the vault, ending in a slash.')
param vaultUri string

@description('The two images.')
param images Images

@description('Secrets of the vault that the containers or the scaler need.')
param secretNames string[]

@description('Variables that both containers get.')
param sharedEnv EnvironmentVariable[]

@description('Variables that only the app gets.')
param appEnv EnvironmentVariable[]

@description('Variables that only the sidecar gets.')
param sidecarEnv EnvironmentVariable[]

@description('vCPU of each container.')
param sizes Sizes

@description('Replicas and what adds to them.')
param scale Scale

@description('How revisions live together.')
param revisions Revisions

@description('Seconds between SIGTERM and SIGKILL.')
@minValue(30)
@maxValue(600)
param terminationGracePeriodSeconds int

@description('How patient the startup probe is.')
param startupProbe StartupProbe

@description('Path that shows the app alive; empty asks for nothing but an open port.')
param appLivenessPath string

@description('Reached from the internet.')
param external bool

@description('Domains of your own.')
param customDomains CustomDomain[]

@description('Addresses that may, or may not, reach the ingress.')
param ipRules IpRule[]

var ports = {
  ingress: 8080
  probes: 8081
  control: 9090
  app: 3000
}

var memory = {
  '0.25': '0.5Gi'
  '0.5': '1Gi'
  '0.75': '1.5Gi'
  '1.0': '2Gi'
  '1.25': '2.5Gi'
  '1.5': '3Gi'
  '2.0': '4Gi'
  '2.5': '5Gi'
  '3.0': '6Gi'
}

var httpRule = {
  name: 'http'
  http: { metadata: { concurrentRequests: string(scale.concurrentRequests) } }
}

// With an identity on this rule the platform would drop its trigger without a
// word, so it signs in with a connection string.
var backlogRules = scale.?backlog == null
  ? []
  : [
      {
        name: 'backlog'
        custom: {
          type: 'postgresql'
          metadata: {
            query: 'SELECT count(*) FROM webhook_queue WHERE status IN (\'pending\', \'processing\')'
            targetQueryValue: string(scale.backlog!.waiting)
          }
          auth: [
            {
              secretRef: appSecret(scale.backlog!.?connectionSecret ?? 'scaler-database-url')
              triggerParameter: 'connection'
            }
          ]
        }
      }
    ]

var traffic = revisions.mode == 'Multiple' && revisions.?traffic != null
  ? map(
      revisions.traffic!,
      share =>
        contains(share, 'revisionName')
          ? { revisionName: share.revisionName!, weight: share.weight }
          : { latestRevision: true, weight: share.weight }
    )
  : [{ latestRevision: true, weight: 100 }]

var secrets KeptSecret[] = map(secretNames, name => {
  name: appSecret(name)
  keyVaultUrl: '${vaultUri}secrets/${name}'
  identity: platformId
})

resource containerApp 'Microsoft.App/containerApps@2026-01-01' = {
  name: installation.name
  location: installation.location
  tags: union(installation.tags, { 'sluice-role': 'app' })
  identity: {
    type: 'UserAssigned'
    // An update takes off what it does not name, and a replica of the revision
    // before that starts during the deploy, or after a rollback, would get no
    // token (learn.microsoft.com, container-apps/revisions, application-scope changes).
    userAssignedIdentities: toObject(union([platformId, runtimeId], previousIdentities), id => id, id => {})
  }
  properties: {
    environmentId: environmentId
    workloadProfileName: empty(workloadProfile) ? null : workloadProfile
    configuration: {
      activeRevisionsMode: revisions.mode
      maxInactiveRevisions: 20
      ingress: {
        external: external
        targetPort: ports.ingress
        transport: 'auto'
        allowInsecure: false
        traffic: traffic
        // An update leaves none that is not named here
        // (microsoft/azure-container-apps issues 957 and 1429).
        customDomains: [
          for domain in customDomains: union(
            { name: domain.name, bindingType: domain.?certificateId == null ? 'Auto' : 'SniEnabled' },
            // Its id is the caller's own.
            #disable-next-line use-resource-id-functions
            domain.?certificateId == null ? {} : { certificateId: domain.?certificateId }
          )
        ]
        ipSecurityRestrictions: map(
          ipRules,
          rule => { name: rule.name, ipAddressRange: rule.addressRange, action: rule.action }
        )
      }
      // Commands that the app runs for hooks reach every identity that its
      // container has: not the one that reads the vault
      // (learn.microsoft.com, container-apps/managed-identity, control managed identity availability).
      identitySettings: concat(
        [
          { identity: platformId, lifecycle: 'None' }
          { identity: runtimeId, lifecycle: 'Main' }
        ],
        map(previousIdentities, id => { identity: id, lifecycle: 'Main' })
      )
      registries: concat(
        [{ server: registryServer, identity: platformId }],
        map(imageLogins, login => {
          server: login.server
          username: login.username
          passwordSecretRef: appSecret(login.secret)
        })
      )
      // Without a version: a secret that changes restarts the replicas, which
      // drain and replay as in any deploy.
      secrets: concat(
        secrets,
        filter(previousSecrets, kept => !contains(map(secrets, secret => secret.name), kept.name))
      )
    }
    template: {
      terminationGracePeriodSeconds: terminationGracePeriodSeconds
      containers: [
        {
          name: 'app'
          image: images.app
          resources: { cpu: json(sizes.app), memory: memory[sizes.app] }
          env: concat(
            [
              { name: 'PORT', value: string(ports.app) }
              { name: 'TERMINATION_GRACE_SECONDS', value: string(terminationGracePeriodSeconds) }
            ],
            sharedEnv,
            appEnv
          )
          // Liveness alone: with a startup or readiness probe the platform
          // would take the replica out of ingress while the app is away, which
          // is when the sidecar is to hold. The limit leaves 200 s for a start.
          probes: [
            union(
              {
                type: 'Liveness'
                initialDelaySeconds: 60
                periodSeconds: 30
                timeoutSeconds: 10
                failureThreshold: 10
              },
              empty(appLivenessPath)
                ? { tcpSocket: { port: ports.app } }
                : { httpGet: { path: appLivenessPath, port: ports.app } }
            )
          ]
        }
        {
          name: 'sidecar'
          image: images.sidecar
          resources: { cpu: json(sizes.sidecar), memory: memory[sizes.sidecar] }
          env: concat(
            [
              { name: 'LISTEN_ADDR', value: ':${ports.ingress}' }
              { name: 'PROBE_ADDR', value: ':${ports.probes}' }
              { name: 'CONTROL_ADDR', value: '127.0.0.1:${ports.control}' }
              { name: 'APP_URL', value: 'http://127.0.0.1:${ports.app}' }
              { name: 'TERMINATION_GRACE_SECONDS', value: string(terminationGracePeriodSeconds) }
            ],
            sharedEnv,
            sidecarEnv
          )
          // All three are named, so that the platform adds none of its own.
          probes: [
            {
              type: 'Startup'
              httpGet: { path: '/startupz', port: ports.probes }
              initialDelaySeconds: 1
              periodSeconds: startupProbe == '5s x 40' ? 5 : 20
              timeoutSeconds: 3
              failureThreshold: startupProbe == '5s x 40' ? 40 : 10
            }
            {
              type: 'Readiness'
              httpGet: { path: '/readyz', port: ports.probes }
              initialDelaySeconds: 1
              periodSeconds: 5
              timeoutSeconds: 3
              failureThreshold: 3
            }
            {
              type: 'Liveness'
              httpGet: { path: '/livez', port: ports.probes }
              initialDelaySeconds: 1
              periodSeconds: 10
              timeoutSeconds: 5
              failureThreshold: 6
            }
          ]
        }
      ]
      scale: {
        minReplicas: scale.min
        maxReplicas: scale.max
        rules: concat([httpRule], backlogRules)
      }
    }
  }
}

@description('Host name that senders post to.')
output fqdn string = containerApp.properties.configuration.ingress.fqdn
