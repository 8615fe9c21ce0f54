metadata description = 'Tells people when webhooks cannot be kept, work was cut off, or the app keeps crashing.'

import { Alerts, Installation } from 'types.bicep'

@description('What every resource has in common.')
param installation Installation

@description('Who is told.')
param alerts Alerts

@description('Resource id of the container app; empty before its first deploy.')
param containerAppId string

@description('Name of the container app, by which its log lines are found.')
param containerAppName string

@description('Resource id of the workspace with the logs; empty with an environment that was brought in.')
param workspaceId string

@description('Resource id of the PostgreSQL server; empty with a server that was brought in.')
param serverId string

// `lines` are messages as they are logged; `severity` 1 is for what loses or
// delays webhooks, 2 for what needs a look.
var logAlerts = [
  {
    name: 'database-unreachable'
    description: 'The health check does not reach PostgreSQL: webhooks go to the spool or are refused.'
    lines: ['Health check failed: PostgreSQL unreachable']
    severity: 1
    threshold: 3
  }
  {
    name: 'webhooks-refused'
    description: 'Webhooks get 503: the app is away and they could not be stored. Most senders do not try again for long.'
    lines: [
      'Webhook refused, it could not be stored'
      'Webhook refused, the queue is at its limit'
    ]
    severity: 1
    threshold: 0
  }
  {
    name: 'webhooks-failed'
    description: 'The app refused a held webhook for good. It is kept as failed and waits for a decision.'
    lines: ['Webhook given up, kept as failed for the operator']
    severity: 2
    threshold: 0
  }
  {
    name: 'work-abandoned'
    description: 'A drain ran out of time and cut work off. Jobs run again in the next revision.'
    lines: ['Force exit after extended grace timeout, work abandoned']
    severity: 2
    threshold: 0
  }
  {
    name: 'app-crashing'
    description: 'The app ends by itself again and again; webhooks are held meanwhile.'
    lines: ['App ended, restarting', 'App not restarted']
    severity: 1
    threshold: 5
  }
]

var appMetricAlerts = empty(containerAppId)
  ? []
  : [
      {
        name: 'container-restarts'
        description: 'Containers restart: while one is down its replica is out of ingress.'
        resource: containerAppId
        namespace: 'Microsoft.App/containerApps'
        metric: 'RestartCount'
        aggregation: 'Maximum'
        threshold: 3
        severity: 1
      }
    ]

var databaseMetricAlerts = empty(serverId)
  ? []
  : [
      {
        name: 'database-storage'
        description: 'Storage fills up; at 95 % the server turns read-only and nothing can be held in it.'
        resource: serverId
        namespace: 'Microsoft.DBforPostgreSQL/flexibleServers'
        metric: 'storage_percent'
        aggregation: 'Maximum'
        threshold: 80
        severity: 1
      }
      {
        name: 'database-cpu'
        description: 'The server is busy; replay slows down first.'
        resource: serverId
        namespace: 'Microsoft.DBforPostgreSQL/flexibleServers'
        metric: 'cpu_percent'
        aggregation: 'Average'
        threshold: 90
        severity: 2
      }
    ]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${installation.name}-people'
  location: 'global'
  tags: installation.tags
  properties: {
    groupShortName: take(installation.name, 12)
    enabled: true
    emailReceivers: [
      for (email, i) in alerts.emails: { name: 'person-${i}', emailAddress: email, useCommonAlertSchema: true }
    ]
  }
}

resource logAlert 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for alert in (empty(workspaceId) ? [] : logAlerts): {
    name: '${installation.name}-${alert.name}'
    location: installation.location
    tags: installation.tags
    kind: 'LogAlert'
    properties: {
      displayName: '${installation.name}: ${alert.name}'
      description: alert.description
      severity: alert.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT5M'
      criteria: {
        allOf: [
          {
            query: 'ContainerAppConsoleLogs | where ContainerAppName == "${containerAppName}" | where ${join(map(alert.lines, line => 'Log has "${line}"'), ' or ')}'
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
    tags: installation.tags
    properties: {
      description: alert.description
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
            operator: 'GreaterThan'
            threshold: alert.threshold
          }
        ]
      }
      actions: [{ actionGroupId: people.id }]
    }
  }
]
