package azure

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// revise makes a new revision of a template that differs from the latest one
// and, when it is healthy, hands the traffic over as the mode says. A revision
// that does not start fails whoever asked for it.
func (c *cloud) revise(template object) error {
	if err := c.checkSecretRefs(template); err != nil {
		return err
	}
	delete(template, "revisionSuffix")
	if n := len(c.Revisions); n > 0 && reflect.DeepEqual(clone(c.Revisions[n-1].Template), clone(template)) {
		return nil
	}
	r := revision{Name: fmt.Sprintf("sluice--%07d", len(c.Revisions)+1), Health: "Healthy", Running: "Running",
		Provisioning: "Provisioned", Template: clone(template), Active: true}
	health := c.Faults.NextHealth
	if !c.signsIn(template) {
		health = "Unhealthy"
	}
	switch health {
	case "Unhealthy":
		r.Health, r.Running, r.Provisioning = "Unhealthy", "Failed", "Failed"
		c.Revisions = append(c.Revisions, r)
		return errNotProvisioned
	case "Flapping":
		r.Flaps = 2
	}
	if c.mode() == "Single" {
		for i := range c.Revisions {
			c.Revisions[i].Active, c.Revisions[i].Weight = false, 0
		}
		r.Weight = 100
	} else if c.latestGetsTraffic() {
		for i := range c.Revisions {
			c.Revisions[i].Weight = 0
		}
		r.Weight = 100
	}
	c.Revisions = append(c.Revisions, r)
	return nil
}

// signsIn says whether the app has the identity that a template signs in to the
// database with: identities are the app's, not a revision's (learn.microsoft.com,
// container-apps/managed-identity).
func (c *cloud) signsIn(template object) bool {
	for _, container := range template["containers"].([]any) {
		entries, _ := container.(object)["env"].([]any)
		for _, e := range entries {
			if e.(object)["name"] == "AZURE_CLIENT_ID" && !slices.Contains(slices.Collect(maps.Values(c.Identities)), e.(object)["value"].(string)) {
				return false
			}
		}
	}
	return true
}

func (c *cloud) mode() string { return c.Config["activeRevisionsMode"].(string) }

func (c *cloud) ingress() object { return c.Config["ingress"].(object) }

func (c *cloud) latestGetsTraffic() bool {
	for _, share := range c.ingress()["traffic"].([]any) {
		if share.(object)["latestRevision"] == true {
			return true
		}
	}
	return false
}

// checkSecretRefs refuses a template with a secretRef that the app has not
// (microsoft/azure-container-apps issue 231 has the message).
func (c *cloud) checkSecretRefs(template object) error {
	known := map[string]bool{}
	secrets, _ := c.Config["secrets"].([]any)
	for _, s := range secrets {
		known[s.(object)["name"].(string)] = true
	}
	for _, container := range template["containers"].([]any) {
		entries, _ := container.(object)["env"].([]any)
		for _, e := range entries {
			if ref, ok := e.(object)["secretRef"].(string); ok && !known[ref] {
				return fmt.Errorf("(ContainerAppSecretRefNotFound) SecretRef '%s' defined for container '%s' not found.", ref, container.(object)["name"])
			}
		}
	}
	return nil
}

// mapRefs changes every secretRef of a template's copy.
func mapRefs(template object, change func(string) string) object {
	copied := clone(template)
	for _, container := range copied["containers"].([]any) {
		entries, _ := container.(object)["env"].([]any)
		for _, e := range entries {
			if ref, ok := e.(object)["secretRef"].(string); ok {
				e.(object)["secretRef"] = change(ref)
			}
		}
	}
	return copied
}

func (c *cloud) containerApp(k call) (any, error) {
	if c.Config == nil {
		return nil, errNotFound
	}
	switch k.Command {
	case "containerapp show":
		return c.showApp(), nil
	case "containerapp revision list":
		list := []object{}
		for i := range c.Revisions {
			if k.has("--all") || c.Revisions[i].Active {
				list = append(list, c.showRevision(i))
			}
		}
		return list, nil
	case "containerapp logs show":
		return c.log(k), nil
	case "containerapp ingress traffic set":
		return object{}, c.setTraffic(k.option("--revision-weight"))
	case "containerapp ingress update":
		port, err := strconv.ParseFloat(k.option("--target-port"), 64)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		c.ingress()["targetPort"] = port
		return object{}, nil
	case "rest":
		return object{}, c.patch(k)
	case "containerapp secret set":
		name, reference, _ := strings.Cut(k.option("--secrets"), "=")
		if !strings.HasPrefix(reference, "keyvaultref:") {
			return nil, fmt.Errorf("%w: a secret on the command line", errUsage)
		}
		secrets, _ := c.Config["secrets"].([]any)
		c.Config["secrets"] = append(secrets, object{"name": name})
		return object{}, nil
	}
	r := slices.IndexFunc(c.Revisions, func(r revision) bool {
		return r.Name == k.option("--revision")+k.option("--from-revision")
	})
	if r < 0 {
		return nil, errNotFound
	}
	switch k.Command {
	case "containerapp replica list":
		name := c.Revisions[r].Name + "-abc"
		if n := c.Revisions[r].Restarts; n > 0 {
			name += fmt.Sprint(n)
		}
		return []object{{"name": name}}, nil
	case "containerapp revision show":
		return c.showRevision(r), nil
	case "containerapp revision copy":
		// azure-cli, command_modules/containerapp/_utils.py, _update_revision_env_secretrefs.
		return object{}, c.revise(mapRefs(c.Revisions[r].Template, func(ref string) string {
			return strings.ReplaceAll(ref, "sluice-", "")
		}))
	case "containerapp revision activate":
		c.Revisions[r].Active, c.Revisions[r].Running = true, "Running"
	case "containerapp revision restart":
		if c.Faults.RestartFails {
			return nil, errors.New("(InternalServerError) the revision cannot be restarted")
		}
		if !c.Faults.RestartIdle {
			c.Revisions[r].Restarts++
		}
	case "containerapp revision deactivate":
		c.Revisions[r].Active, c.Revisions[r].Running = false, "Stopped"
	default:
		return nil, fmt.Errorf("%w: the stand-in cannot %s", errUsage, k.Command)
	}
	return object{}, nil
}

func (c *cloud) setTraffic(share string) error {
	if c.mode() == "Single" {
		return fmt.Errorf("(TrafficWeightInvalid) Containerapp sluice is configured for single revision. Set revision mode to multiple")
	}
	name, weight, _ := strings.Cut(share, "=")
	for i := range c.Revisions {
		c.Revisions[i].Weight = map[bool]int{true: 100}[c.Revisions[i].Name == name && weight == "100"]
	}
	c.ingress()["traffic"] = []any{object{"revisionName": name, "weight": 100}}
	return nil
}

// patch answers at once and works on (learn.microsoft.com,
// rest/api/containerapps/container-apps/update: 202 Accepted, a JSON merge patch).
func (c *cloud) patch(k call) error {
	if k.option("--method") != "patch" || !strings.Contains(k.option("--url"), "/Microsoft.App/containerApps/sluice?api-version=") {
		return fmt.Errorf("%w: the stand-in cannot %s %s", errUsage, k.option("--method"), k.option("--url"))
	}
	text, err := os.ReadFile(strings.TrimPrefix(k.option("--body"), "@"))
	if err != nil {
		return err
	}
	var body struct {
		Properties struct {
			Template      object
			Configuration struct{ Ingress object }
		}
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return fmt.Errorf("(InvalidRequestContent) %w", err)
	}
	if _, given := body.Properties.Template["revisionSuffix"]; !given && c.Faults.Suffix != "" {
		// microsoft/azure-container-apps issues 660 and 1278 have the wording.
		return fmt.Errorf("(WebhookInvalidParameterValue) Invalid value: %q: revision with suffix %[1]s already exists.: template.revisionsuffix", c.Faults.Suffix)
	}
	for name, value := range body.Properties.Template {
		if value == nil { // a merge patch removes what is null
			delete(body.Properties.Template, name)
		}
	}
	maps.Copy(c.ingress(), body.Properties.Configuration.Ingress)
	if err := c.revise(body.Properties.Template); err != nil && err != errNotProvisioned {
		return err
	}
	c.Behind = c.Faults.Lag
	return nil
}

func (c *cloud) showApp() object {
	ready, latest, provisioning := "", "", "Succeeded"
	known := c.Revisions
	if c.Behind > 0 && len(known) > 1 {
		c.Behind--
		known, provisioning = known[:len(known)-1], "InProgress"
	}
	for _, r := range known {
		latest = r.Name
		if r.Health == "Healthy" && (c.mode() == "Multiple" || r.Provisioning == "Provisioned") {
			ready = r.Name
		}
		if provisioning != "InProgress" {
			provisioning = map[bool]string{true: "Failed", false: "Succeeded"}[r.Provisioning == "Failed"]
		}
	}
	config, template := clone(c.Config), object{}
	if len(known) > 0 {
		template = known[len(known)-1].Template
	}
	config["ingress"].(object)["fqdn"] = "sluice.example.azurecontainerapps.io"
	assigned := object{}
	for id, client := range c.Identities {
		assigned[id] = object{"clientId": client}
	}
	return object{"id": "/subscriptions/" + subscription + "/resourceGroups/sluice/providers/Microsoft.App/containerApps/sluice",
		"name": "sluice", "identity": object{"userAssignedIdentities": assigned}, "properties": object{"latestRevisionName": latest, "latestReadyRevisionName": ready,
			"provisioningState": provisioning, "configuration": config, "template": template}}
}

func (c *cloud) showRevision(i int) object {
	r := &c.Revisions[i]
	health, running, template := r.Health, r.Running, r.Template
	if r.Flaps > 0 {
		r.Flaps--
		health, running = "Unhealthy", "Degraded"
	}
	if c.Faults.MangledRefs {
		// microsoft/azure-container-apps issue 1705.
		template = mapRefs(template, func(string) string { return "capp-sluice" })
	}
	return object{"name": r.Name, "properties": object{
		"createdTime": fmt.Sprintf("2026-01-%02dT00:00:00+00:00", i+1), "active": r.Active,
		"healthState": health, "runningState": running, "provisioningState": r.Provisioning,
		"trafficWeight": r.Weight, "replicas": 1, "template": template,
	}}
}

func (c *cloud) log(k call) string {
	switch {
	case k.option("--type") == "system":
		return strings.Join(c.SystemLog, "\n")
	case k.option("--container") == "app":
		// 300 lines at most (azure-cli, command_modules/containerapp/_params.py).
		return strings.Join(c.AppLog[max(0, len(c.AppLog)-300):], "\n")
	}
	return strings.Join(c.SidecarLog[max(0, len(c.SidecarLog)-300):], "\n")
}

// job is the database job: what it did is what its container would do.
func (c *cloud) job(k call) (any, error) {
	if !slices.ContainsFunc(c.Resources, func(r resource) bool { return r.Type == "Microsoft.App/jobs" }) {
		return nil, errNotFound
	}
	switch k.Command {
	case "containerapp job start":
		state := "Succeeded"
		if c.Faults.JobFails {
			state = "Failed"
		}
		c.Executions = append(c.Executions, state)
		return object{"name": fmt.Sprintf("sluice-database-%d", len(c.Executions))}, nil
	case "containerapp job execution show":
		return object{"properties": object{"status": c.Executions[len(c.Executions)-1]}}, nil
	}
	return nil, fmt.Errorf("%w: the stand-in cannot %s", errUsage, k.Command)
}
