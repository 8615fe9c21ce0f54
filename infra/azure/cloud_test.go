package azure

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

type object = map[string]any

var errNotFound = errors.New("(ResourceNotFound) not found")

// answer does what a command does to the cloud and returns what it prints.
func (c *cloud) answer(k call) (any, error) {
	switch k.Command {
	case "version":
		return object{"azure-cli": c.Version}, nil
	case "account show":
		if !c.SignedIn {
			return nil, errors.New("please run 'az login' to setup account")
		}
		return object{"id": "00000000-0000-0000-0000-000000000000"}, nil
	case "group show":
		if k.option("--name") != "sluice" {
			return nil, errNotFound
		}
		return object{"id": "/subscriptions/0/resourceGroups/sluice"}, nil
	case "keyvault secret list":
		var list []object
		for _, name := range c.Secrets {
			list = append(list, object{"name": name})
		}
		return list, nil
	case "acr repository show":
		if !slices.Contains(c.Images, k.option("--image")) {
			return nil, errNotFound
		}
		return object{}, nil
	case "acr build":
		if _, err := os.Stat(k.option("--file")); err != nil {
			return nil, err
		}
		c.Images = append(c.Images, k.option("--image"))
		return object{}, nil
	}
	if strings.HasPrefix(k.Command, "deployment ") {
		return c.deployment(k)
	}
	return c.containerApp(k)
}

func (c *cloud) deployment(k call) (any, error) {
	if k.Command == "deployment group show" {
		if !c.Foundation {
			return nil, errNotFound
		}
		outputs := object{}
		for name, v := range map[string]string{"registryName": "sluicereg", "registryServer": "sluicereg.azurecr.io",
			"vaultName": "sluice-vault", "containerAppName": "sluice"} {
			outputs[name] = object{"value": v}
		}
		return object{"properties": object{"outputs": outputs}}, nil
	}
	if _, err := os.Stat(k.option("--parameters")); err != nil {
		return nil, err
	}
	if k.Command == "deployment group what-if" {
		return "Resource changes: some", nil
	}
	c.Foundation = true
	for variable := range strings.SplitSeq(os.Getenv("STANDIN_SECRETS"), " ") {
		if os.Getenv(variable) != "" {
			c.Secrets = append(c.Secrets, strings.ReplaceAll(strings.ToLower(variable), "_", "-"))
		}
	}
	if images := k.Images; images[0] != "" {
		for _, image := range images {
			if !slices.Contains(c.Images, strings.TrimPrefix(image, "sluicereg.azurecr.io/")) {
				return nil, fmt.Errorf("no image %s", image)
			}
		}
		if len(c.Revisions) == 0 || !slices.Equal(c.Revisions[len(c.Revisions)-1].Images, images) {
			c.revise(images)
		}
	}
	return object{}, nil
}

// revise makes a new revision and, when it is healthy, hands the traffic over
// as the mode says.
func (c *cloud) revise(images []string) {
	r := revision{Name: fmt.Sprintf("sluice--%07d", len(c.Revisions)+1), Health: c.NextHealth,
		Running: "Running", Images: images, Active: true}
	if r.Health != "Healthy" {
		r.Running = "Failed"
	} else if c.Mode == "Single" {
		for i := range c.Revisions {
			c.Revisions[i].Active, c.Revisions[i].Weight = false, 0
		}
		r.Weight = 100
	}
	c.Revisions = append(c.Revisions, r)
}

func (c *cloud) containerApp(k call) (any, error) {
	if len(c.Revisions) == 0 {
		return nil, errNotFound
	}
	r := c.find(k.option("--revision") + k.option("--from-revision"))
	switch k.Command {
	case "containerapp show":
		return c.showApp(), nil
	case "containerapp revision list":
		var list []object
		for i, r := range c.Revisions {
			if _, all := k.Options["--all"]; all || r.Active {
				list = append(list, showRevision(i, r))
			}
		}
		return list, nil
	case "containerapp replica list":
		return []object{{"name": k.option("--revision") + "-abc"}}, nil
	case "containerapp logs show":
		return c.log(k), nil
	case "containerapp ingress traffic set":
		name, weight, _ := strings.Cut(k.option("--revision-weight"), "=")
		for i := range c.Revisions {
			c.Revisions[i].Weight = map[bool]int{true: 100}[c.Revisions[i].Name == name && weight == "100"]
		}
		return object{}, nil
	}
	if r < 0 {
		return nil, errNotFound
	}
	switch k.Command {
	case "containerapp revision show":
		return showRevision(r, c.Revisions[r]), nil
	case "containerapp revision copy":
		c.revise(c.Revisions[r].Images)
	case "containerapp revision activate":
		c.Revisions[r].Active, c.Revisions[r].Running = true, "Running"
	default:
		return nil, fmt.Errorf("%w: the stand-in cannot %s", errUsage, k.Command)
	}
	return object{}, nil
}

func (c *cloud) find(name string) int {
	return slices.IndexFunc(c.Revisions, func(r revision) bool { return r.Name == name })
}

func (c *cloud) showApp() object {
	ready := ""
	for _, r := range c.Revisions {
		if r.Health == "Healthy" {
			ready = r.Name
		}
	}
	return object{"properties": object{
		"latestRevisionName":      c.Revisions[len(c.Revisions)-1].Name,
		"latestReadyRevisionName": ready,
		"configuration": object{
			"activeRevisionsMode": c.Mode,
			"ingress":             object{"fqdn": "sluice.example.azurecontainerapps.io", "external": c.External},
		},
	}}
}

func showRevision(i int, r revision) object {
	var containers []object
	for _, image := range r.Images {
		containers = append(containers, object{"image": image})
	}
	return object{"name": r.Name, "properties": object{
		"createdTime": fmt.Sprintf("2026-01-%02dT00:00:00+00:00", i+1), "active": r.Active,
		"healthState": r.Health, "runningState": r.Running, "provisioningState": "Provisioned",
		"trafficWeight": r.Weight, "replicas": 1,
		"template": object{"containers": containers, "scale": object{"minReplicas": 1}, "terminationGracePeriodSeconds": 330},
	}}
}

func (c *cloud) log(k call) string {
	if k.option("--container") == "app" {
		return strings.Join(c.AppLog, "\n")
	}
	return `2026-01-01T00:00:00Z stderr F {"level":"INFO","msg":"Startup webhook queue replay complete","queuedWebhooksProcessed":42}`
}
