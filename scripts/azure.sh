# shellcheck shell=bash
# What deploy, status, rollback, adopt and leave share: options, questions to
# Azure, waiting. It is sourced, never run. Secrets stay in the environment of
# `az`; no function here puts one on a command line or prints it.

self=$(basename "$0")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
group=${AZURE_RESOURCE_GROUP:-}
subscription=${AZURE_SUBSCRIPTION_ID:-}
parameters=${SLUICE_PARAMETERS:-bicep/main.bicepparam}
dry_run=false
yes=false
poll=${SLUICE_POLL_SECONDS:-5}

# An empty variable, as a workflow sets one, is none: the parameter file's own
# value counts.
for variable in SLUICE_NAME SLUICE_STARTUP_PROBE; do
  [ -n "${!variable:-}" ] || unset "$variable"
done

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

# common_option ARGS... takes an option that all scripts have and sets `taken`
# to the number of arguments used, 0 for none of them.
common_option() {
  taken=1
  case $1 in
  -g | --resource-group) group=${2:-} && taken=2 ;;
  -s | --subscription) subscription=${2:-} && taken=2 ;;
  -p | --parameters) parameters=${2:-} && taken=2 ;;
  -y | --yes) yes=true ;;
  --dry-run) dry_run=true ;;
  *) taken=0 ;;
  esac
  [ "$taken" -le $# ] || usage_error "$1 needs a value"
}

# az asks the one subscription that was found and shown, whatever another
# terminal makes the default meanwhile.
az() { command az "$@" ${pinned:+--subscription "$pinned"} --only-show-errors; }
pinned=

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
  if [ -f "$parameters" ] || [ -f "$root/$parameters" ]; then
    # A file is named from where the caller is, or from the root.
    [ -f "$parameters" ] || parameters=$root/$parameters
    parameters=$(cd "$(dirname "$parameters")" && pwd)/$(basename "$parameters")
    installation=$(installation_name)
    [ -n "$installation" ] || missing "$parameters gives no name: param name = '...'"
  else
    missing "no parameter file $parameters"
  fi
  type -P az >/dev/null || return 0
  local version
  version=$(az version --query '"azure-cli"' --output tsv 2>/dev/null)
  if [ "$(printf '%s\n' "$oldest_az" "$version" | sort -V | head -n 1)" != "$oldest_az" ]; then
    missing "Azure CLI $version is too old, $oldest_az is needed: az upgrade"
  fi
  pin_subscription
}

# pin_subscription finds the subscription, shows it and holds to it.
pin_subscription() {
  local account
  if ! account=$(az account show ${subscription:+--subscription "$subscription"} --query '[id, name]' --output tsv 2>/dev/null); then
    missing "not signed in to Azure${subscription:+, or no subscription $subscription}: az login"
    return 0
  fi
  # One value a line, as tsv prints a list.
  pinned=$(printf '%s\n' "$account" | sed -n 1p)
  say "Subscription: $(printf '%s\n' "$account" | sed -n 2p) ($pinned), resource group: ${group:-none}, installation: ${installation:-none}"
  if [ -n "$group" ] && ! az group show --name "$group" --query id --output tsv >/dev/null 2>&1; then
    missing "no resource group $group: az group create --name $group --location REGION"
  fi
}

# installation_name is what the parameter file gives to `name`: two files are two
# installations, also in one resource group.
installation_name() {
  local given
  given=$(sed -n "s/^param name = readEnvironmentVariable('SLUICE_NAME', '\([^']*\)').*/env \1/p; s/^param name = '\([^']*\)'.*/fixed \1/p" "$parameters" | head -n 1)
  case $given in
  env\ *) printf '%s' "${SLUICE_NAME:-${given#env }}" ;;
  fixed\ *) printf '%s' "${given#fixed }" ;;
  esac
}

# again SCRIPT [ARGS] prints the command that does it for this installation, to
# paste into another terminal.
again() {
  local script=$1 name=''
  shift
  [ -z "${SLUICE_NAME:-}" ] || name="SLUICE_NAME=$SLUICE_NAME "
  [ -z "${SLUICE_APP:-}" ] || name="SLUICE_APP=$SLUICE_APP $name"
  printf '%sscripts/%s --resource-group %q --subscription %s --parameters %q%s' \
    "$name" "$script" "$group" "${pinned:-SUBSCRIPTION}" "${parameters#"$root"/}" "${*:+ $*}"
}

# of_app COMMAND [OPTIONS] prints an az command about the app, to paste.
of_app() {
  local command=$1
  shift
  printf 'az containerapp %s --name %s --resource-group %s --subscription %s%s' "$command" "$app" "$group" "$pinned" "${*:+ $*}"
}

deployment_name() { printf 'sluice-%s' "$installation"; }

# deployment_state prints Running, Failed, Succeeded, or nothing. A failed or
# running deployment has no outputs, so nothing is ever read from those.
deployment_state() {
  az deployment group show --resource-group "$group" --name "$(deployment_name)" \
    --query properties.provisioningState --output tsv 2>/dev/null || true
}

# inventory reads what carries the installation's tag, into `found`: a role, a
# name and an id a line. Not by --tag, which goes with no other filter.
inventory() {
  found=$(az resource list --resource-group "$group" --output tsv \
    --query "[?tags.\"sluice-installation\"=='$installation'].[tags.\"sluice-role\", name, id]" 2>/dev/null) || found=
}

# named ROLE prints the name of what has the role.
named() { printf '%s\n' "$found" | awk -F '\t' -v role="$1" '$1 == role { print $2; exit }'; }

# await_named ROLE waits until the list, which is behind, shows it.
await_named() {
  local over
  wait_at_most 60
  while :; do
    inventory
    [ -z "$(named "$1")" ] || break
    pause || break
  done
  named "$1"
}

# find_app sets app, mode and fqdn of the container app that is deployed. It
# does not ask the deployment: that may have failed, or be running.
find_app() {
  inventory
  # One from before there were tags has the installation's name.
  app=${SLUICE_APP:-$(named app)}
  app=${app:-$installation}
  mode=$(app_value properties.configuration.activeRevisionsMode)
  if [ -z "$mode" ]; then
    local state
    state=$(deployment_state)
    fail "no container app $app in $group${state:+ (the last deployment, $(deployment_name): $state)}: run $(again deploy)"
  fi
  fqdn=$(app_value properties.configuration.ingress.fqdn)
}

# assigned are the app's identities, for a query: ids are its keys.
# shellcheck disable=SC2034  # used where this is sourced
assigned="identity.userAssignedIdentities || \`{}\`"

app_value() {
  az containerapp show --name "$app" --resource-group "$group" --query "$1" --output tsv 2>/dev/null || true
}

# revision_value REVISION QUERY
revision_value() {
  az containerapp revision show --name "$app" --resource-group "$group" --revision "$1" \
    --query "$2" --output tsv 2>/dev/null || true
}

# wait_at_most SECONDS begins a wait; pause sleeps once and fails when it is over.
# It is time that counts, not looks: each look is some calls of az, of seconds.
wait_at_most() { over=$((SECONDS + ${SLUICE_WAIT_SECONDS:-$1})); }
pause() {
  [ "$SECONDS" -lt "$over" ] || return 1
  sleep "$poll"
}

# wait_for_revision REVISION waits until it is healthy and, in single mode, has
# taken over. The startup probe gives up after 200 s and is tried again by the
# platform, so 15 minutes see several attempts. Degraded is what a revision also
# is for a moment while replicas come and go (microsoft/azure-container-apps
# issue 1347): it counts when six readings in a row say so.
wait_for_revision() {
  local over health='' running='' provisioning='' bad=0
  say "Waiting for revision $1"
  wait_at_most 900
  while :; do
    health=$(revision_value "$1" properties.healthState)
    running=$(revision_value "$1" properties.runningState)
    provisioning=$(revision_value "$1" properties.provisioningState)
    case "$provisioning $running" in
    Failed* | *Failed) bad=6 ;;
    *Degraded) bad=$((bad + 1)) ;;
    *) bad=0 ;;
    esac
    if [ "$bad" -ge 6 ]; then
      say "Revision $1: provisioning $provisioning, $running, $health"
      return 1
    fi
    if [ "$health" = Healthy ] && serving "$1"; then
      say "Revision $1 is healthy and takes webhooks"
      return 0
    fi
    pause || break
  done
  say "Revision $1 is not ready in time: provisioning $provisioning, $running, $health"
  return 1
}

# serving REVISION: in single mode traffic moves once the revision is ready.
serving() {
  [ "$mode" = Multiple ] || [ "$(app_value properties.latestReadyRevisionName)" = "$1" ]
}

# current is the revision that serves: the ready one in single mode, the one
# with the most traffic in multiple mode.
current() {
  if [ "$mode" = Multiple ]; then
    az containerapp revision list --name "$app" --resource-group "$group" --output tsv \
      --query "sort_by([?properties.trafficWeight > \`0\`], &properties.trafficWeight)[-1].name"
  else
    app_value properties.latestReadyRevisionName
  fi
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
  local over answer=''
  wait_at_most 120
  while :; do
    answer=$(health 2>&1) || true
    if [ "$(field status "$answer")" = ok ]; then
      say "https://$fqdn/healthz: $answer"
      return 0
    fi
    pause || break
  done
  say "https://$fqdn/healthz: $answer"
  return 1
}

# check_replay REVISION waits for the line that ends the first replay. The log
# is read 300 lines back at most: a busy replica has pushed the line out of
# them, and then its state tells as much.
check_replay() {
  local over line='' answer=''
  wait_at_most 120
  while :; do
    line=$(az containerapp logs show --name "$app" --resource-group "$group" --revision "$1" \
      --container sidecar --tail 300 --format text 2>/dev/null |
      grep 'Startup webhook queue replay complete' | tail -n 1) || true
    if [ -n "$line" ]; then
      say "Startup webhook queue replay complete, queuedWebhooksProcessed: $(field queuedWebhooksProcessed "$line")"
      return 0
    fi
    pause || break
  done
  answer=$(health 2>&1) || true
  if [ "$(field state "$answer")" = passing ]; then
    say "The last 300 lines of $1 no longer show the end of the replay; it is passing, held: $(field held "$answer")"
    return 0
  fi
  say "The log of $1 does not say that the replay is complete; webhooks may still wait, see scripts/status"
  return 1
}

# failed_operations DEPLOYMENT [DEPTH] prints what failed. A module is a
# deployment of its own, and only that one has the reason. A provider's status may
# be text and no object, its message may have several lines, and the reason may be
# in the details: one line for each failure, with what there is.
failed_operations() {
  local kind name reason
  az deployment operation group list --resource-group "$group" --name "$1" --output tsv --query \
    "[?properties.provisioningState=='Failed'].[properties.targetResource.resourceType || '-', properties.targetResource.resourceName || '-', join(': ', not_null(properties.statusMessage.error.[code, message, details[0].code, details[0].message][?@], [to_string(properties.statusMessage)]))]" 2>/dev/null |
    awk -F '\t' 'NF >= 3 { if (row != "") print row; row = $0; next } { row = row " " $0 } END { if (row != "") print row }' |
    while IFS=$'\t' read -r kind name reason; do
      if [ "$kind" = Microsoft.Resources/deployments ] && [ "${2:-0}" -lt 3 ]; then
        failed_operations "$name" $((${2:-0} + 1))
      else
        printf '  %s %s: %s\n' "$kind" "$name" "$reason"
      fi
    done || true
}

# advice TEXT says what to do about an error that is known.
advice() {
  case $1 in
  *DeploymentActive*)
    say "Another deployment of $installation runs. Wait for it: az deployment group wait --resource-group $group --subscription $pinned --name $(deployment_name) --created"
    say "or end it: az deployment group cancel --resource-group $group --subscription $pinned --name $(deployment_name)"
    ;;
  *ProbeFailureThresholdOutOfRange*)
    say "The platform holds to the documented maximum of a probe's failureThreshold. As patient within it: SLUICE_STARTUP_PROBE='20s x 10' $(again deploy)"
    ;;
  *MaxNumberOf* | *Quota* | *quota* | *OfferRestricted*)
    say "A quota is used up, or the region refuses this subscription: ask for more (portal: Quotas), or take another region. See docs/azure.md#quotas."
    ;;
  *MissingSubscriptionRegistration*)
    say "An owner of the subscription registers the provider once: az provider register --namespace NAMESPACE --wait"
    ;;
  *"deleted state"*)
    say "Bring the deleted vault back with its secrets: az keyvault recover --name NAME. See docs/azure.md#teardown."
    ;;
  *TasksOperationsNotAllowed*)
    say "This subscription may not build in the registry: build here instead, $(again deploy --local-build)"
    ;;
  *Microsoft.App/containerApps*) say "Why it does not start: its log, above, and docs/operations.md#a-deploy-that-fails." ;;
  esac
}

# system_log prints what the platform says of the app, if it is there.
system_log() {
  local lines
  lines=$(az containerapp logs show --name "$1" --resource-group "$group" --type system --tail 20 --format text 2>/dev/null) || return 0
  [ -z "$lines" ] || printf 'The platform says:\n%s\n' "$lines" >&2
}

# patch_app COMMAND sends what the command prints to the container app, and sets
# `target` to the revision that comes of it.
patch_app() {
  local latest file
  latest=$(app_value properties.latestRevisionName)
  file=$(mktemp)
  "$1" >"$file"
  if ! change az rest --method patch --url "https://management.azure.com$(app_value id)?api-version=2026-01-01" --body "@$file" --output none; then
    rm -f "$file"
    fail "the change of $app is refused; what served before still does. See docs/operations.md#rollback"
  fi
  rm -f "$file"
  $dry_run || await_new "$latest"
}

# await_new LATEST waits until the app shows a revision after that one: the
# request is answered before it is carried out.
await_new() {
  local over
  wait_at_most 120
  while :; do
    target=$(app_value properties.latestRevisionName)
    [ "$target" = "$1" ] || return 0
    pause || break
  done
  fail "no new revision of $app appears; what served before still does"
}
