#!/usr/bin/env bash
# What scripts/deploy finds out before it changes anything: the plan, the secrets,
# and what cannot be switched. It sources this file.
# shellcheck disable=SC2154 # azure.sh and deploy set the names used here

# check_providers: a deployment registers a provider by itself where it may; an
# owner of a resource group may not, and is told before anything is made.
check_providers() {
  local name
  for name in $(az provider list --query "[?registrationState!='Registered'].namespace" --output tsv 2>/dev/null); do
    # The list has microsoft.insights in small letters (MicrosoftDocs/azure-docs 85190).
    case $name in
    Microsoft.App | Microsoft.ContainerRegistry | Microsoft.DBforPostgreSQL | Microsoft.KeyVault | Microsoft.ManagedIdentity | Microsoft.OperationalInsights | [Mm]icrosoft.[Ii]nsights | Microsoft.Network) ;;
    *) continue ;;
    esac
    if $dry_run; then
      say "would run: az provider register --namespace $name --wait"
    elif ! az provider register --namespace "$name" --wait --output none; then
      missing "the resource provider $name is not registered, and you may not: an owner of the subscription runs az provider register --namespace $name --wait"
    fi
  done
}

# kept are parameters beside those of the file: what a revision that runs still
# needs (azure-cli, resource/custom.py, _parse_bicepparam_inline_params).
kept=()

# template COMMAND... is what-if or create, with the parameter file.
template() {
  az deployment group "$@" --resource-group "$group" --name "$(deployment_name)" \
    --parameters "$parameters" ${kept[@]+"${kept[@]}"} --output "${format:-none}"
}

# keep_previous finds the identities and secrets of the app that the revisions
# that run refer to. Both are the app's, not a revision's, and a deployment takes
# off what it does not name (learn.microsoft.com, container-apps/revisions,
# application-scope changes): without them a replica of the revision before that
# starts meanwhile, or after a rollback, would have no token or no secret.
keep_previous() {
  [ -n "$mode" ] || return 0
  local used refs clients secrets ids
  used=$(az containerapp revision list --name "$app" --resource-group "$group" --output tsv \
    --query "[].properties.template.containers[].env[] | [?secretRef || name=='AZURE_CLIENT_ID'].[secretRef || 'client', value || '-']") ||
    fail "the revisions of $app cannot be listed, so it is not known what they still need; nothing is changed"
  refs=$(printf '%s\n' "$used" | awk -F '\t' '$2 == "-" && !seen[$1]++ { printf "%s\"%s\"", sep, $1; sep = "," }')
  clients=$(printf '%s\n' "$used" | awk -F '\t' '$1 == "client" { print $2 }')
  secrets=$(az containerapp show --name "$app" --resource-group "$group" --output json --query \
    "properties.configuration.secrets[?keyVaultUrl && contains(\`[$refs]\`, name)].{name: name, keyVaultUrl: keyVaultUrl, identity: identity}" | tr -d '\n')
  case $secrets in '' | null | '[]') ;; *) kept+=(--parameters "previousSecrets=$secrets") ;; esac
  # One question: two answers need not be in one order.
  ids=$(az containerapp show --name "$app" --resource-group "$group" --query "$assigned" --output json 2>/dev/null |
    awk -F '"' 'NF > 2 && /{[ \t]*$/ { id = $2 } $2 == "clientId" { print id "\t" $4 }' |
    awk -F '\t' -v clients="$clients" -v secrets="$secrets" -v own="/$installation-(platform|runtime)$" '
      BEGIN { n = split(tolower(clients), list, "\n"); for (i = 1; i <= n; i++) used[list[i]] = 1 }
      tolower($1) ~ tolower(own) || $1 == "" { next }
      tolower($2) in used || index(tolower(secrets), tolower("\"" $1 "\"")) { printf "%s\"%s\"", sep, $1; sep = "," }')
  [ -z "$ids" ] || kept+=(--parameters "previousIdentities=[$ids]")
}

# make_plan asks what-if what there would be, into `plan`: a line has what
# happens to a resource (Create, Modify, ...), its id, and its switches that cannot
# be switched, as they would be and as they are. The names in it are
# there before the resources are. What the template does not name is in what-if's
# answer too, as Ignore (learn.microsoft.com, azure-resource-manager/bicep/
# deploy-what-if): another installation's vault in the same group is not ours.
make_plan() {
  local answer switches="after.properties.backup.geoRedundantBackup || '-', before.properties.backup.geoRedundantBackup || '-', to_string(after.properties.zoneRedundant), to_string(before.properties.zoneRedundant)"
  if ! answer=$(SLUICE_APP_IMAGE=${app_image:-planned} SLUICE_SIDECAR_IMAGE=${sidecar_image:-planned} \
    az deployment group what-if --resource-group "$group" --name "$(deployment_name)" --parameters "$parameters" \
    ${kept[@]+"${kept[@]}"} --no-pretty-print --output tsv --query "changes[?changeType!='Ignore'].[changeType, resourceId, $switches]" 2>&1); then
    say "$answer"
    advice "$answer"
    fail "what-if refuses the template; nothing is changed"
  fi
  plan=$answer
}

# of_plan TYPE prints the plan's lines of what has the type, or is of such a
# one. Large and small letters are the same in an id.
of_plan() { printf '%s\n' "$plan" | awk -F '\t' -v type="/$1/" 'index(tolower($2), tolower(type))'; }

# planned TYPE prints the name that the plan has for the first of its kind.
planned() { of_plan "$1" | awk -v type="/$1/" '{ rest = substr($2, index(tolower($2), tolower(type)) + length(type)); sub(/\/.*/, "", rest); print rest; exit }'; }

# itself TYPE prints what happens to the resource of that type, and its id.
itself() { of_plan "$1" | awk -F '\t' -v type="/$1/" 'substr($2, index(tolower($2), tolower(type)) + length(type)) !~ /\// { print; exit }'; }

# secret_variables lists the variables that the parameter file reads and that
# hold secrets.
secret_variables() {
  sed -n "s/.*readEnvironmentVariable('\([A-Z_]*\)'.*/\1/p" "$parameters" |
    grep -E 'SECRET|TOKEN|PASSWORD|WEBHOOK_URL|CLIENT_STATE|_KEY$|PUBLIC_KEY' | sort -u || true
}

# random prints 32 bytes; with `url` without the letters that a URL takes badly.
random() {
  if [ "${1:-}" = url ]; then
    head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'
  else
    head -c 32 /dev/urandom | base64 | tr -d '\n'
  fi
}

# vault_secrets prints the names of the vault's secrets. First by the control
# plane, for which the rights that a deploy needs are enough: whoever may deploy
# may not be let through the vault's firewall, or have no role in it
# (learn.microsoft.com, rest/api/keyvault/keyvault/secrets/list).
vault_secrets() {
  local id url answer names=''
  id=$(of_plan Microsoft.KeyVault/vaults | awk -F '\t' -v type=/microsoft.keyvault/vaults/ '{ at = index(tolower($2), type) + length(type); rest = substr($2, at); sub(/\/.*/, "", rest); print substr($2, 1, at - 1) rest; exit }')
  url="https://management.azure.com$id/secrets?api-version=2026-02-01"
  while [ -n "$id" ] && [ -n "$url" ]; do
    # The first line is the next page's address.
    answer=$(az rest --method get --url "$url" --query "[[nextLink || '-'], value[].name][]" --output tsv 2>/dev/null) || break
    names=$names$(printf '%s\n' "$answer" | sed 1d)$'\n'
    url=$(printf '%s\n' "$answer" | sed -n '1{s/^-$//;p;}')
    if [ -z "$url" ]; then
      printf '%s' "$names"
      return 0
    fi
  done
  az keyvault secret list --vault-name "$vault" --query '[].name' --output tsv 2>/dev/null
}

# check_secrets: each must be in the environment or in the vault already. What
# only Sluice knows is made; but never on a guess that the vault has none, since
# held webhooks cannot be read with another BUFFER_KEY.
check_secrets() {
  local variable name known='' sure=true
  # Whether the vault is there is for what-if to say: a question that fails for
  # another reason, a moment's or a right's, would read as a vault without keys.
  if [ "$(itself Microsoft.KeyVault/vaults | cut -f 1)" != Create ]; then
    if ! known=$(vault_secrets); then
      sure=false
      say "The secrets in $vault cannot be listed, so it is not checked that all are there; that takes the right Microsoft.KeyVault/vaults/secrets/read, or the role Key Vault Secrets User"
    fi
  fi
  for variable in $(secret_variables); do
    [ -z "$(printenv "$variable" || true)" ] || continue
    name=$(printf '%s' "$variable" | tr '[:upper:]_' '[:lower:]-')
    case $variable in
    SLUICE_DATABASE_PASSWORD) name=database-url ;;
    SLUICE_SCALER_PASSWORD) name=scaler-password ;;
    esac
    if ! $sure || printf '%s\n' "$known" | grep -qxF "$name"; then continue; fi
    case $variable in
    BUFFER_KEY | SLUICE_SECRET)
      export "$variable=$(random)"
      say "Made $variable; the vault keeps it"
      ;;
    SLUICE_SCALER_PASSWORD)
      export "$variable=$(random url)"
      say "Made $variable; the vault keeps it"
      ;;
    *) missing "$variable is not set, and there is no secret $name in the vault $vault" ;;
    esac
  done
  case ${SLUICE_DATABASE_PASSWORD:-}${SLUICE_SCALER_PASSWORD:-} in
  *[!A-Za-z0-9_-]*) missing "SLUICE_DATABASE_PASSWORD and SLUICE_SCALER_PASSWORD may hold letters, digits, - and _ only" ;;
  esac
}

# check_vault: soft delete keeps a deleted vault's name for 90 days.
check_vault() {
  if az keyvault list-deleted --resource-type vault --query '[].name' --output tsv 2>/dev/null | grep -qxF "$vault"; then
    missing "the vault $vault was deleted and keeps its name: az keyvault recover --name $vault brings it back with its secrets; for another name give vault = { kind: 'new', name: '...' }"
  fi
}

# check_switches: what can be chosen only when a thing is made (learn.microsoft.com,
# postgresql/flexible-server/concepts-backup-restore and reliability/
# reliability-azure-container-apps). The service would refuse it in the middle.
check_switches() {
  local id geo has zones spread
  while IFS=$'\t' read -r _ id geo has zones spread; do
    case $id in
    */flexibleServers/*)
      [ "$geo" = - ] || [ "$has" = - ] || [ "$geo" = "$has" ] ||
        missing "the server ${id##*/} has geo-redundant backups $has, and ${parameters##*/} asks for $geo, which cannot be switched on a server that exists: geoBackup: $([ "$has" = Enabled ] && printf true || printf false) in the file, or another installation (docs/azure.md#upgrading-an-installation-of-before)"
      ;;
    */managedEnvironments/*)
      [ "$zones" = null ] || [ "$spread" = null ] || [ "$zones" = "$spread" ] ||
        missing "the environment ${id##*/} has zoneRedundant: $spread, and ${parameters##*/} asks for $zones, which cannot be switched on an environment that exists: zoneRedundant: $spread in the file, or another installation (docs/azure.md#upgrading-an-installation-of-before)"
      ;;
    esac
  done < <(printf '%s\n' "$plan" | awk -F '\t' '$1 != "Create"')
}

# check_network: neither server nor environment can move into a network or out
# of it (learn.microsoft.com, postgresql/flexible-server/concepts-networking-private).
check_network() {
  local server subnet wanted=false
  # By the plan, since one from before there were tags has none.
  server=$(itself Microsoft.DBforPostgreSQL/flexibleServers | awk -F '\t' '$1 != "Create" { print $2 }')
  grep -q '^param network' "$parameters" && wanted=true
  if [ -z "$server" ]; then
    $wanted || return 0
    [ -n "$previous" ] || say "The database gets private access, reached from inside the network only. That cannot be switched later, nor can public access."
    return 0
  fi
  subnet=$(az resource show --ids "$server" --query properties.network.delegatedSubnetResourceId --output tsv 2>/dev/null) || return 0
  if $wanted && [ -z "$subnet" ]; then
    missing "the server that exists has public access, and ${parameters##*/} asks for a network, which cannot be switched: take the param network out, or move to a new server (docs/azure.md#moving-into-a-network)"
  elif ! $wanted && [ -n "$subnet" ]; then
    missing "the server that exists is in a network, and ${parameters##*/} asks for none, which cannot be switched"
  fi
}
