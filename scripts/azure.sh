# shellcheck shell=bash
# What deploy, status and rollback share: options, questions to Azure, waiting.
# It is sourced, never run. Secrets stay in the environment of `az`; no function
# here puts one on a command line or prints it.

self=$(basename "$0")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
group=${AZURE_RESOURCE_GROUP:-}
parameters=${SLUICE_PARAMETERS:-bicep/main.bicepparam}
dry_run=false
yes=false
poll=${SLUICE_POLL_SECONDS:-5}

# Older ones lack `containerapp` without an extension, or a .bicepparam file
# without a template beside it.
oldest_az=2.62

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "$self: $*"
  exit 1
}

# usage_error MESSAGE
usage_error() {
  say "$self: $1"
  say "Try scripts/$self --help."
  exit 2
}

# missing MESSAGE collects what is wrong; stop_if_missing lists all of it at once.
problems=()
missing() { problems+=("$1"); }
stop_if_missing() {
  [ ${#problems[@]} -eq 0 ] && return
  say "$self: cannot start:"
  printf '  - %s\n' "${problems[@]}" >&2
  exit 2
}

# common_option ARGS... takes an option that all three scripts have and sets
# `taken` to the number of arguments used, 0 for none of them.
common_option() {
  taken=1
  case $1 in
  -g | --resource-group) group=${2:-} && taken=2 ;;
  -p | --parameters) parameters=${2:-} && taken=2 ;;
  -y | --yes) yes=true ;;
  --dry-run) dry_run=true ;;
  *) taken=0 ;;
  esac
  [ "$taken" -le $# ] || usage_error "$1 needs a value"
}

# change CMD... runs what changes something, or shows it with --dry-run.
change() {
  if $dry_run; then
    say "would run: $*"
  else
    "$@"
  fi
}

# confirm QUESTION
confirm() {
  if $yes || $dry_run; then return; fi
  [ -t 0 ] || usage_error "no terminal to ask on: give --yes"
  read -r -p "$1 [y/N] " answer
  case $answer in y | Y | yes) ;; *) fail "nothing done" ;; esac
}

# check_common TOOL... checks the tools and the inputs that every script needs.
check_common() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || missing "$tool is not installed"
  done
  [ -n "$group" ] || missing "no resource group: give --resource-group or set AZURE_RESOURCE_GROUP"
  [ -f "$root/$parameters" ] || [ -f "$parameters" ] || missing "no parameter file $parameters"
  command -v az >/dev/null || return 0
  local version
  version=$(az version --query '"azure-cli"' --output tsv 2>/dev/null)
  if [ "$(printf '%s\n' "$oldest_az" "$version" | sort -V | head -n 1)" != "$oldest_az" ]; then
    missing "Azure CLI $version is too old, $oldest_az is needed: az upgrade"
  fi
  if ! az account show --query id --output tsv >/dev/null 2>&1; then
    missing "not signed in to Azure: az login"
  elif [ -n "$group" ] && ! az group show --name "$group" --query id --output tsv >/dev/null 2>&1; then
    missing "no resource group $group: az group create --name $group --location REGION"
  fi
}

# The deployment is named after the parameter file, so that one group can hold
# several installations.
deployment_name() { printf 'sluice-%s' "$(basename "$parameters" .bicepparam)"; }

# output NAME prints an output of the last deployment, nothing if there is none.
output() {
  az deployment group show --resource-group "$group" --name "$(deployment_name)" \
    --query "properties.outputs.$1.value" --output tsv 2>/dev/null || true
}

# find_app sets app, mode and fqdn of the container app that is deployed.
find_app() {
  app=${SLUICE_APP:-$(output containerAppName)}
  [ -n "$app" ] || fail "nothing is deployed from $parameters in $group: run scripts/deploy first"
  mode=$(app_value properties.configuration.activeRevisionsMode)
  [ -n "$mode" ] || fail "no container app $app in $group: run scripts/deploy first"
  fqdn=$(app_value properties.configuration.ingress.fqdn)
}

app_value() {
  az containerapp show --name "$app" --resource-group "$group" --query "$1" --output tsv 2>/dev/null || true
}

# revision_value REVISION QUERY
revision_value() {
  az containerapp revision show --name "$app" --resource-group "$group" --revision "$1" \
    --query "$2" --output tsv 2>/dev/null || true
}

# attempts SECONDS prints how many polls fit, at least one.
attempts() { awk -v s="$1" -v p="$poll" 'BEGIN { n = int(s / (p > 0 ? p : 0.01)); if (n < 1) n = 1; print n }'; }

# wait_for_revision REVISION waits until it is healthy and, in single mode, has
# taken over. The startup probe gives up after 200 s and is tried again by the
# platform, so 15 minutes see several attempts.
wait_for_revision() {
  local left health='' running='' provisioning=''
  say "Waiting for revision $1"
  left=$(attempts "${SLUICE_WAIT_SECONDS:-900}")
  while [ "$left" -gt 0 ]; do
    health=$(revision_value "$1" properties.healthState)
    running=$(revision_value "$1" properties.runningState)
    provisioning=$(revision_value "$1" properties.provisioningState)
    case "$provisioning $running" in
    Failed* | *Failed | *Degraded)
      say "Revision $1: provisioning $provisioning, $running, $health"
      return 1
      ;;
    esac
    if [ "$health" = Healthy ] && serving "$1"; then
      say "Revision $1 is healthy and takes webhooks"
      return 0
    fi
    left=$((left - 1))
    sleep "$poll"
  done
  say "Revision $1 is not ready in time: provisioning $provisioning, $running, $health"
  return 1
}

# serving REVISION: in single mode traffic moves once the revision is ready.
serving() {
  [ "$mode" = Multiple ] || [ "$(app_value properties.latestReadyRevisionName)" = "$1" ]
}

# health prints the public answer, which is one line of JSON.
health() { curl --silent --show-error --max-time 10 "https://$fqdn/healthz"; }

# field NAME JSON prints the value of a field of flat JSON.
field() { printf '%s' "$2" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

# check_health waits for a good answer at the public address.
check_health() {
  if [ "$(app_value properties.configuration.ingress.external)" != true ]; then
    say "The ingress is internal: ask https://$fqdn/healthz from inside the network"
    return 0
  fi
  local left answer=''
  left=$(attempts "${SLUICE_WAIT_SECONDS:-120}")
  while [ "$left" -gt 0 ]; do
    answer=$(health 2>&1) || true
    if [ "$(field status "$answer")" = ok ]; then
      say "https://$fqdn/healthz: $answer"
      return 0
    fi
    left=$((left - 1))
    sleep "$poll"
  done
  say "https://$fqdn/healthz: $answer"
  return 1
}

# check_replay REVISION waits for the line that ends the first replay.
check_replay() {
  local left line=''
  left=$(attempts "${SLUICE_WAIT_SECONDS:-120}")
  while [ "$left" -gt 0 ]; do
    line=$(az containerapp logs show --name "$app" --resource-group "$group" --revision "$1" \
      --container sidecar --tail 300 --format text 2>/dev/null |
      grep 'Startup webhook queue replay complete' | tail -n 1) || true
    if [ -n "$line" ]; then
      say "Startup webhook queue replay complete, queuedWebhooksProcessed: $(field queuedWebhooksProcessed "$line")"
      return 0
    fi
    left=$((left - 1))
    sleep "$poll"
  done
  say "The log of $1 does not say that the replay is complete; webhooks may still wait, see scripts/status"
  return 1
}
