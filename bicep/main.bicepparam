// A first installation: one to three replicas, a small server, GitHub as the sender.
// dev.bicepparam and production.bicepparam are a smaller and a larger one.
//
// scripts/deploy sets the variables read here. A secret is given once, in the
// environment of that run; the vault keeps it, and later runs leave it out.
using 'main.bicep'

param name = readEnvironmentVariable('SLUICE_NAME', 'sluice')

// Set by scripts/deploy once both images are built.
param appImage = readEnvironmentVariable('SLUICE_APP_IMAGE', '')
param sidecarImage = readEnvironmentVariable('SLUICE_SIDECAR_IMAGE', '')

// Every secret that the containers read from the vault: add SLACK_SIGNING_SECRET
// and so on here and below.
param secretVariables = ['GITHUB_WEBHOOK_SECRET', 'SLUICE_SECRET']
param secretValues = {
  GITHUB_WEBHOOK_SECRET: readEnvironmentVariable('GITHUB_WEBHOOK_SECRET', '')
  SLUICE_SECRET: readEnvironmentVariable('SLUICE_SECRET', '')
}
