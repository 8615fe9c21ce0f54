metadata description = 'Tells people when webhooks cannot be kept, wait too long, work was cut off, or nobody answers; a workbook that shows a deploy; and a test of /healthz from outside. Each alert links to its section of the runbook.'

import { Alerts, Installation } from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Who is told.')
param alerts Alerts

@description('Resource id of the container app; empty before its first deploy.')
param containerAppId string

@description('Ask /healthz from outside: the ingress can be reached.')
param askFromOutside bool

@description('Host name that senders post to.')
param fqdn string

@description('Resource id of the workspace with the logs; empty for no alert that looks into them.')
param workspaceId string

@description('Resource id of the PostgreSQL server; empty with a server that was brought in.')
param serverId string

var runbook = alerts.?runbook ?? 'docs/operations.md'
var tags = union(installation.tags, { 'sluice-role': 'alert' })

// The queries are files of their own, so that they can be pasted into the
// workspace too. `Stats` is the line that each sidecar logs once a minute.
var stats = replace(loadTextContent('../queries/stats.kql'), '{app}', installation.name)
var console = 'ContainerAppConsoleLogs | where ContainerAppName == "${installation.name}"'
var system = 'ContainerAppSystemLogs | where ContainerAppName == "${installation.name}"'

var noLines string[] = []

// `severity` 1 is for what loses or delays webhooks, 2 for what needs a look.
// An alert is raised when the query gives more rows than the threshold.
var logAlerts = [
  {
    name: 'database-unreachable'
    description: 'The health check does not reach PostgreSQL: nothing can be held, webhooks are refused while the app is away.'
    section: 'health-check-fails'
    lines: ['Health check failed: PostgreSQL unreachable']
    severity: 1
    threshold: 3
  }
  {
    name: 'webhooks-refused'
    description: 'Webhooks get 503: the app is away and they could not be stored. Most senders do not try again for long.'
    section: 'unable-to-hold'
    lines: ['Webhook refused, it could not be stored', 'Webhook refused, the queue is at its limit']
    severity: 1
    threshold: 0
  }
  {
    name: 'webhooks-waiting'
    description: 'The oldest held webhook has waited for more than 10 minutes.'
    section: 'held-webhooks-are-not-replayed'
    query: '${stats} | where oldest_seconds > 600'
    severity: 1
    threshold: 2
  }
  {
    name: 'backlog-growing'
    description: 'More than a hundred webhooks are held, and more than ten minutes ago.'
    section: 'held-webhooks-are-not-replayed'
    query: '${stats} | summarize early = minif(held, TimeGenerated < ago(10m)), late = maxif(held, TimeGenerated > ago(5m)) | where late > 100 and late > early'
    severity: 2
    threshold: 0
  }
  {
    name: 'webhooks-failed'
    description: 'The app refused a held webhook for good. It is kept as failed and waits for a decision.'
    section: 'dead-letters'
    lines: ['Webhook given up, kept as failed for the operator']
    severity: 2
    threshold: 0
  }
  {
    name: 'signatures-refused'
    description: 'More than twenty webhooks in a quarter of an hour had a wrong signature: a secret was changed on one side only, or somebody knocks.'
    section: 'rotation'
    query: '${stats} | where rejected > 0 | summarize rejected = sum(rejected) | where rejected > 20'
    severity: 2
    threshold: 0
  }
  {
    name: 'work-abandoned'
    description: 'A drain ran out of time and cut work off. Jobs run again in the next revision.'
    section: 'stuck-in-drain'
    lines: ['Force exit after extended grace timeout, work abandoned']
    severity: 2
    threshold: 0
  }
  {
    name: 'app-crashing'
    description: 'The app ends by itself again and again; webhooks are held meanwhile.'
    section: 'a-deploy-that-fails'
    lines: ['App ended, restarting', 'App not restarted']
    severity: 1
    threshold: 5
  }
  {
    name: 'scaler-failing'
    description: 'A rule of the scaler fails, and a failing rule freezes all scaling of the app.'
    section: 'scaling'
    // microsoft/azure-container-apps issues 399 and 1615 show such lines.
    query: '${system} | where EventSource == "KEDA" and Type == "Warning"'
    severity: 2
    threshold: 2
  }
  {
    name: 'sidecar-silent'
    description: 'No sidecar has logged its Stats line for a quarter of an hour: none runs, or the log does not arrive.'
    section: 'nobody-answers'
    query: '${stats} | count | where Count == 0'
    severity: 1
    threshold: 0
  }
]

var appMetricAlerts = empty(containerAppId)
  ? []
  : [
      {
        name: 'container-restarts'
        description: 'Containers restart: while one is down its replica is out of ingress.'
        section: 'nobody-answers'
        resource: containerAppId
        namespace: 'Microsoft.App/containerApps'
        metric: 'RestartCount'
        aggregation: 'Maximum'
        operator: 'GreaterThan'
        threshold: 3
        severity: 1
        dimensions: []
      }
      {
        name: 'ingress-5xx'
        description: 'Senders get 5xx at the ingress.'
        section: 'unable-to-hold'
        resource: containerAppId
        namespace: 'Microsoft.App/containerApps'
        metric: 'Requests'
        aggregation: 'Total'
        operator: 'GreaterThan'
        threshold: 5
        severity: 1
        dimensions: [{ name: 'statusCodeCategory', operator: 'Include', values: ['5xx'] }]
      }
      {
        name: 'no-replica'
        description: 'No replica runs: nobody takes webhooks, and nobody holds them.'
        section: 'nobody-answers'
        resource: containerAppId
        namespace: 'Microsoft.App/containerApps'
        metric: 'Replicas'
        aggregation: 'Maximum'
        operator: 'LessThan'
        threshold: 1
        severity: 1
        dimensions: []
      }
    ]

var databaseMetricAlerts = empty(serverId)
  ? []
  : [
      {
        name: 'database-storage'
        description: 'Storage fills up; at 95 % the server turns read-only and nothing can be held in it.'
        section: 'health-check-fails'
        resource: serverId
        namespace: 'Microsoft.DBforPostgreSQL/flexibleServers'
        metric: 'storage_percent'
        aggregation: 'Maximum'
        operator: 'GreaterThan'
        threshold: 80
        severity: 1
        dimensions: []
      }
      {
        name: 'database-cpu'
        description: 'The server is busy; replay slows down first.'
        section: 'health-check-fails'
        resource: serverId
        namespace: 'Microsoft.DBforPostgreSQL/flexibleServers'
        metric: 'cpu_percent'
        aggregation: 'Average'
        operator: 'GreaterThan'
        threshold: 90
        severity: 2
        dimensions: []
      }
    ]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${installation.name}-people'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: take(installation.name, 12)
    enabled: true
    emailReceivers: [
      for (email, i) in filter(alerts.emails, email => !empty(email)): {
        name: 'person-${i}'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource logAlert 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for alert in (empty(workspaceId) || empty(containerAppId) ? [] : logAlerts): {
    name: '${installation.name}-${alert.name}'
    location: installation.location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: '${installation.name}: ${alert.name}'
      description: '${alert.description} ${runbook}#${alert.section}'
      severity: alert.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: 'PT5M'
      // A line is in the workspace minutes after it was logged (learn.microsoft.com,
      // azure-monitor/logs/data-ingestion-time): a window of five minutes misses
      // what comes late, and finds no Stats line where there is one.
      windowSize: 'PT15M'
      criteria: {
        allOf: [
          {
            query: alert.?query ?? '${console} | where ${join(map(alert.?lines ?? noLines, line => 'Log has "${line}"'), ' or ')}'
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: alert.threshold
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      // The table is there only once the environment has logged a line.
      skipQueryValidation: true
      autoMitigate: true
      actions: { actionGroups: [people.id] }
    }
  }
]

resource metricAlert 'Microsoft.Insights/metricAlerts@2026-01-01' = [
  for alert in concat(appMetricAlerts, databaseMetricAlerts): {
    name: '${installation.name}-${alert.name}'
    location: 'global'
    tags: tags
    properties: {
      description: '${alert.description} ${runbook}#${alert.section}'
      severity: alert.severity
      enabled: true
      scopes: [alert.resource]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT15M'
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: alert.metric
            metricNamespace: alert.namespace
            metricName: alert.metric
            timeAggregation: alert.aggregation
            operator: alert.operator
            threshold: alert.threshold
            dimensions: alert.dimensions
          }
        ]
      }
      actions: [{ actionGroupId: people.id }]
    }
  }
]

var asked = !empty(workspaceId) && askFromOutside

// A test from outside belongs to a component, by its hidden-link tag.
resource outside 'Microsoft.Insights/components@2020-02-02' = if (asked) {
  name: '${installation.name}-outside'
  location: installation.location
  tags: tags
  kind: 'web'
  properties: { Application_Type: 'web', WorkspaceResourceId: workspaceId, DisableLocalAuth: true }
}

resource healthz 'Microsoft.Insights/webtests@2022-06-15' = if (asked) {
  name: '${installation.name}-healthz'
  location: installation.location
  tags: union(tags, { 'hidden-link:${outside.id}': 'Resource' })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: '${installation.name}-healthz'
    Name: '${installation.name}-healthz'
    Enabled: true
    Kind: 'standard'
    Frequency: 300
    Timeout: 30
    RetryEnabled: true
    Locations: [{ Id: 'emea-nl-ams-azr' }, { Id: 'us-va-ash-azr' }, { Id: 'apac-sg-sin-azr' }]
    Request: { RequestUrl: 'https://${fqdn}/healthz', HttpVerb: 'GET' }
    ValidationRules: { ExpectedHttpStatusCode: 200, SSLCheck: true, SSLCertRemainingLifetimeCheck: 7 }
  }
}

resource unavailable 'Microsoft.Insights/metricAlerts@2026-01-01' = if (asked) {
  name: '${installation.name}-unavailable'
  location: 'global'
  tags: tags
  properties: {
    description: '/healthz does not answer 200 as seen from outside. ${runbook}#health-check-fails'
    severity: 1
    enabled: true
    scopes: [healthz.id, outside.id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: healthz.id
      componentId: outside.id
      failedLocationCount: 2
    }
    actions: [{ actionGroupId: people.id }]
  }
}

var queryTexts = {
  '{deploy}': loadTextContent('../queries/deploy.kql')
  '{held}': loadTextContent('../queries/held.kql')
  '{refused}': loadTextContent('../queries/refused.kql')
  '{drains}': loadTextContent('../queries/drains.kql')
}

// A query goes into the workbook's JSON as JSON has it, without the quotes.
func inJson(text string) string => substring(string([text]), 2, max(length(string([text])) - 4, 0))

var serialized = reduce(
  items(queryTexts),
  loadTextContent('../workbook.json'),
  (book, entry) =>
    replace(book, entry.key, inJson(replace(replace(entry.value, '{stats}', stats), '{app}', installation.name)))
)

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = if (!empty(workspaceId)) {
  name: guid(resourceGroup().id, installation.name, 'workbook')
  location: installation.location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: '${installation.name}: deploys and held webhooks'
    category: 'workbook'
    sourceId: workspaceId
    serializedData: replace(serialized, '{workspace}', workspaceId)
  }
}
