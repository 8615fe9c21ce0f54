package azure

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// deployment is one that was made. Only a succeeded one has outputs
// (`az deployment group show` of a failed or running one prints null for them:
// learn.microsoft.com, rest/api/resources/deployments/get, and seen by
// azure.md's reader).
type deployment struct {
	State      string // Running, Failed, Succeeded
	Outputs    object
	Operations []object
}

func (c *cloud) deployment(k call) (any, error) {
	name := k.option("--name")
	switch k.Command {
	case "deployment group show":
		d, ok := c.Deployments[name]
		if !ok {
			return nil, errNotFound
		}
		properties := object{"provisioningState": d.State}
		if d.State == "Succeeded" && !c.Faults.NoOutputs {
			properties["outputs"] = d.Outputs
		}
		return object{"name": name, "properties": properties}, nil
	case "deployment operation group list":
		d, ok := c.Deployments[name]
		if !ok {
			return nil, errNotFound
		}
		return d.Operations, nil
	case "deployment group what-if", "deployment group create":
	default:
		return nil, fmt.Errorf("%w: the stand-in cannot %s", errUsage, k.Command)
	}
	snapshot, err := readSnapshot(k.Options["--parameters"][0])
	if err != nil {
		return nil, err
	}
	wanted := wantedResources(snapshot, k.Images)
	if k.Command == "deployment group what-if" {
		changes, modified := c.changes(wanted)
		changes = append(c.ignored(wanted), changes...)
		if k.has("--no-pretty-print") {
			return object{"status": "Succeeded", "changes": changes}, nil
		}
		fmt.Printf("Resource changes: %d to create, %d to modify.\n", len(wanted)-modified, modified)
		return nil, nil
	}
	if c.Deployments[name].State == "Running" {
		return nil, fmt.Errorf("(DeploymentActive) The deployment with resource id '%s' cannot be saved, because this would overwrite an existing deployment which is still active", name)
	}
	if c.Deployments == nil {
		c.Deployments = map[string]deployment{}
	}
	previous, err := previousOf(k.Options["--parameters"][1:])
	if err != nil {
		return nil, err
	}
	if err := c.deploy(wanted, k.Images, previous); err != nil {
		nested := "containerApp-" + name
		c.Deployments[nested] = deployment{State: "Failed", Operations: []object{failedOperation(err.resource, "sluice", err.code, err.message)}}
		c.Deployments[name] = deployment{State: "Failed", Operations: []object{failedOperation("Microsoft.Resources/deployments", nested,
			"ResourceDeploymentFailure", "The resource write operation failed to complete successfully, because it reached terminal provisioning state 'Failed'.")}}
		return nil, fmt.Errorf("(DeploymentFailed) At least one resource deployment operation failed. Please list deployment operations for details")
	}
	c.Deployments[name] = deployment{State: "Succeeded", Outputs: outputs(wanted)}
	return object{}, nil
}

// changes says what a deployment would do: with what a resource is and would be.
func (c *cloud) changes(wanted []object) (changes []object, modified int) {
	for _, r := range wanted {
		change := object{"changeType": "Create", "resourceId": r["id"], "after": object{"properties": r["properties"]}}
		if i := slices.IndexFunc(c.Resources, func(k resource) bool { return k.ID == r["id"] }); i >= 0 {
			change["changeType"], change["before"] = "Modify", object{"properties": c.Resources[i].Properties}
			modified++
		}
		changes = append(changes, change)
	}
	return changes, modified
}

// previous is what the template's parameters of the same names hand in.
type previous struct {
	Identities []string
	Secrets    []any
}

// previousOf reads parameters that stand beside the file (azure-cli,
// resource/custom.py, _parse_bicepparam_inline_params: NAME=JSON).
func previousOf(inline []string) (p previous, err error) {
	for _, entry := range inline {
		name, text, _ := strings.Cut(entry, "=")
		switch name {
		case "previousIdentities":
			err = json.Unmarshal([]byte(text), &p.Identities)
		case "previousSecrets":
			err = json.Unmarshal([]byte(text), &p.Secrets)
		default:
			err = fmt.Errorf("%w: unable to parse parameter: %s", errUsage, entry)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// clientID is what an identity's client id is here.
func clientID(id string) string { return "client-of-" + id[strings.LastIndexByte(id, '/')+1:] }

func (c *cloud) has(id any) bool {
	return slices.ContainsFunc(c.Resources, func(r resource) bool { return r.ID == id })
}

// ignored are the resources of the group that a template does not name: what-if
// lists them too (learn.microsoft.com, azure-resource-manager/bicep/deploy-what-if,
// change types).
func (c *cloud) ignored(wanted []object) []object {
	var changes []object
	for _, r := range c.Resources {
		if !slices.ContainsFunc(wanted, func(w object) bool { return w["id"] == r.ID }) {
			changes = append(changes, object{"changeType": "Ignore", "resourceId": r.ID})
		}
	}
	return changes
}

// refusal is why a resource could not be made.
type refusal struct{ resource, code, message string }

func failedOperation(kind, name, code, message string) object {
	return object{"properties": object{"provisioningState": "Failed",
		"targetResource": object{"resourceType": kind, "resourceName": name},
		"statusMessage":  object{"error": object{"code": code, "message": message}}}}
}

func readSnapshot(parameters string) (object, error) {
	file, err := os.ReadFile(parameters)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(snapshotOf(parameters))
	if err != nil {
		return nil, err
	}
	doc := object{}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if name := os.Getenv("SLUICE_NAME"); name != "" && strings.Contains(string(file), "param name = readEnvironmentVariable('SLUICE_NAME'") {
		install(doc, name)
	}
	return doc, nil
}

// install gives the resources the tag of an installation by another name than
// the snapshot's. They are found by the tag, so their names stay.
func install(snapshot object, name string) {
	list, _ := snapshot["predictedResources"].([]any)
	for _, r := range list {
		if tags, ok := r.(object)["tags"].(object); ok && tags["sluice-installation"] != nil {
			tags["sluice-installation"] = name
		}
	}
}

// wantedResources are those of the snapshot, as far as the images that are
// given go: without the app's there is no container app.
func wantedResources(snapshot object, images []string) []object {
	var wanted []object
	list, _ := snapshot["predictedResources"].([]any)
	for _, r := range list {
		r := r.(object)
		kind := r["type"].(string)
		if kind == "Microsoft.App/containerApps" && (images[0] == "" || images[1] == "") ||
			kind == "Microsoft.App/jobs" && images[1] == "" {
			continue
		}
		if kind == "Microsoft.KeyVault/vaults/secrets" {
			// The snapshot has every secret, a deployment writes those given.
			_, name, _ := strings.Cut(r["name"].(string), "/")
			if os.Getenv(strings.ToUpper(strings.ReplaceAll(name, "-", "_"))) == "" && name != "database-url" {
				continue
			}
		}
		wanted = append(wanted, r)
	}
	return wanted
}

func outputs(resources []object) object {
	found := object{"databaseJobName": object{"value": "none"}}
	for output, kind := range map[string]string{"registryName": "Microsoft.ContainerRegistry/registries",
		"vaultName": "Microsoft.KeyVault/vaults", "containerAppName": "Microsoft.App/containerApps",
		"databaseJobName": "Microsoft.App/jobs"} {
		for _, r := range resources {
			if r["type"] == kind {
				found[output] = object{"value": r["name"]}
			}
		}
	}
	return found
}

// deploy makes the resources, until one is refused.
func (c *cloud) deploy(wanted []object, images []string, before previous) *refusal {
	for _, r := range wanted {
		kind, name := r["type"].(string), r["name"].(string)
		namespace, _, _ := strings.Cut(kind, "/")
		if slices.Contains(c.Unregistered, namespace) {
			// A deployment registers providers by itself where it may.
			if err := c.register(namespace); err != nil {
				return &refusal{kind, "MissingSubscriptionRegistration", "The subscription is not registered to use namespace '" + namespace + "'"}
			}
		}
		switch {
		case kind == "Microsoft.KeyVault/vaults" && slices.Contains(c.Deleted, name):
			return &refusal{kind, "ConflictError", "A vault with the same name already exists in deleted state. You need to either recover or purge existing key vault."}
		case kind == "Microsoft.App/managedEnvironments" && c.Faults.Quota:
			return &refusal{kind, "MaxNumberOfRegionalEnvironmentsInSubExceeded", "The subscription cannot have more than 1 Container App Environments in West Europe."}
		case kind == "Microsoft.KeyVault/vaults/secrets":
			_, name, _ := strings.Cut(name, "/")
			if !slices.Contains(c.Secrets, name) {
				c.Secrets = append(c.Secrets, name)
			}
		case kind == "Microsoft.App/containerApps":
			if refused := c.deployApp(r, images, before); refused != nil {
				c.keep(r)
				return refused
			}
		}
		c.keep(r)
	}
	return nil
}

func (c *cloud) keep(r object) {
	id, _ := r["id"].(string)
	if id == "" || slices.ContainsFunc(c.Resources, func(k resource) bool { return k.ID == id }) {
		return
	}
	kept := resource{ID: id, Type: r["type"].(string), Name: r["name"].(string), Hidden: c.Faults.Lag}
	if kept.Type == "Microsoft.DBforPostgreSQL/flexibleServers" || kept.Type == "Microsoft.App/managedEnvironments" {
		kept.Properties = r["properties"].(object)
	}
	if tags, ok := r["tags"].(object); ok {
		kept.Tags = map[string]string{}
		for k, v := range tags {
			kept.Tags[k] = v.(string)
		}
	}
	c.Resources = append(c.Resources, kept)
}

// lastName finds the name at the end of an expression that only Azure resolves.
var lastName = regexp.MustCompile(`([a-z0-9-]+)(?:'\)\])?$`)

func (c *cloud) deployApp(r object, images []string, before previous) *refusal {
	const kind = "Microsoft.App/containerApps"
	properties := clone(r["properties"].(object))
	config, template := properties["configuration"].(object), properties["template"].(object)
	for i, name := range []string{"app", "sidecar"} {
		for _, container := range template["containers"].([]any) {
			if container.(object)["name"] == name {
				container.(object)["image"] = images[i]
			}
		}
	}
	if refused := c.refuseProbes(template); refused != nil {
		return refused
	}
	c.assign(r, template, before.Identities)
	keepSecrets(config, before.Secrets)
	c.Config = config
	if c.Faults.RoleDelay > 0 {
		// A role assignment counts after minutes (learn.microsoft.com,
		// role-based-access-control/troubleshooting: up to 10 minutes).
		c.Faults.RoleDelay--
		return &refusal{kind, "ContainerAppOperationError", "Field 'template.containers.app.image' is invalid with details: 'unable to pull image using Managed identity: UNAUTHORIZED'"}
	}
	for _, image := range images {
		if !c.pulls(image) {
			return &refusal{kind, "ContainerAppOperationError", "Field 'template.containers.app.image' is invalid with details: 'MANIFEST_UNKNOWN: " + image + "'"}
		}
	}
	secrets, _ := config["secrets"].([]any)
	for _, s := range secrets {
		if id, _ := s.(object)["identity"].(string); c.Identities[id] == "" {
			return &refusal{kind, "ContainerAppSecretKeyVaultUrlInvalid", "Unable to get value using Managed identity " + id}
		}
		m := lastName.FindStringSubmatch(s.(object)["keyVaultUrl"].(string))
		if name := m[1]; !slices.Contains(c.Secrets, name) {
			return &refusal{kind, "ContainerAppSecretKeyVaultUrlInvalid", "Unable to get value using Managed identity for secret " + name}
		}
	}
	if err := c.revise(template); err != nil {
		return &refusal{kind, "ContainerAppOperationError", err.Error()}
	}
	return nil
}

// assign gives the app the identities that the deployment names and no others,
// and the containers the client id of theirs.
func (c *cloud) assign(r, template object, before []string) {
	c.Identities = map[string]string{}
	for id := range r["identity"].(object)["userAssignedIdentities"].(object) {
		c.Identities[id] = clientID(id)
		if !strings.HasSuffix(id, "-runtime") {
			continue
		}
		for _, container := range template["containers"].([]any) {
			for _, e := range container.(object)["env"].([]any) {
				if e.(object)["name"] == "AZURE_CLIENT_ID" {
					e.(object)["value"] = clientID(id)
				}
			}
		}
	}
	for _, id := range before {
		c.Identities[id] = clientID(id)
	}
}

// keepSecrets is the template's: what has a name of its own is added.
func keepSecrets(config object, before []any) {
	secrets, _ := config["secrets"].([]any)
	for _, kept := range before {
		if !slices.ContainsFunc(secrets, func(s any) bool { return s.(object)["name"] == kept.(object)["name"] }) {
			secrets = append(secrets, kept)
		}
	}
	config["secrets"] = secrets
}

// refuseProbes holds to the documented maximum of 10 where the service does
// (microsoft/azure-container-apps issue 1100 has the code and the wording).
func (c *cloud) refuseProbes(template object) *refusal {
	if !c.Faults.ProbeLimit {
		return nil
	}
	for _, container := range template["containers"].([]any) {
		probes, _ := container.(object)["probes"].([]any)
		for _, p := range probes {
			if p.(object)["failureThreshold"].(float64) > 10 {
				return &refusal{"Microsoft.App/containerApps", "ContainerAppProbeFailureThresholdOutOfRange",
					"Container 'sidecar' 'Type' probe's FailureThreshold must be in the range of ['1', '10']."}
			}
		}
	}
	return nil
}

var errNotProvisioned = errors.New("Failed to provision revision for container app 'sluice'. Error details: Operation expired.")

func clone(doc object) object {
	text, err := json.Marshal(doc)
	copied := object{}
	if err == nil {
		err = json.Unmarshal(text, &copied)
	}
	if err != nil {
		panic(err) // of a document that was JSON a moment ago
	}
	return copied
}
