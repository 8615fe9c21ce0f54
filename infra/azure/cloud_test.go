package azure

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

type object = map[string]any

// cloud is what the stand-in knows of Azure. A deployment makes what the
// committed snapshot of its parameter file shows, so a script finds in the
// stand-in what the template would really make.
type cloud struct {
	Version      string
	SignedIn     bool
	Groups       []string // beside the one called sluice
	Unregistered []string // resource providers
	MayRegister  bool     // an owner of the subscription; an owner of a group may not
	Resources    []resource
	Deployments  map[string]deployment
	Images       map[string]string // digest by repository:tag
	Secrets      []string          // in the vault
	Deleted      []string          // vaults that soft delete keeps
	Config       object            // the container app's configuration, nil before its first deployment
	Identities   map[string]string // of the container app: client id by resource id
	Revisions    []revision        // oldest first
	Behind       int               // reads in which the app still shows what it was
	Executions   []string          // states of the database job's runs
	Health       string            // answer of /healthz
	AppLog       []string
	SidecarLog   []string
	SystemLog    []string
	History      []string // what the workspace's query answers
	Faults       faults
}

// faults are what Azure does to a deploy on a bad day.
type faults struct {
	NextHealth    string // of the next revision: Unhealthy (never ready), Flapping (Degraded at first)
	TasksRefused  bool   // a free subscription: TasksOperationsNotAllowed
	Quota         bool   // the region has no more environments for the subscription
	Lag           int    // lists in which a new resource is not yet seen, reads in which the app is not yet changed
	RoleDelay     int    // deployments in which a new role assignment does not count yet
	MangledRefs   bool   // a revision shows its secretRefs as capp-NAME
	JobFails      bool   // the database job
	ProbeLimit    bool   // the service holds to the documented failureThreshold of 10
	Suffix        string // that the app's revisions have: one with the same is refused
	VaultHidden   bool   // the vault's address and secrets cannot be asked, for a moment or a right
	SecretsHidden bool   // whoever deploys has no right to the vault's data
	ControlHidden bool   // nor to list its secrets by the control plane
	NoOutputs     bool   // of a deployment: they cannot be read
	RestartFails  bool   // of a revision
	RestartIdle   bool   // it is answered, and the replicas stay
	PublicServer  bool   // the server that exists has public access
}

type resource struct {
	ID, Type, Name string
	Tags           map[string]string
	Hidden         int    // lists in which it is not yet seen
	Properties     object // of servers and environments
}

type revision struct {
	Name, Health, Running, Provisioning string
	Template                            object
	Weight                              int
	Active                              bool
	Flaps                               int // readings as Degraded
	Restarts                            int
}

var errNotFound = errors.New("(ResourceNotFound) not found")

const subscription = "00000000-0000-0000-0000-000000000000"

// answer does what a command does to the cloud and returns what it prints.
func (c *cloud) answer(k call) (any, error) {
	switch k.Command {
	case "version":
		return object{"azure-cli": c.Version}, nil
	case "account show":
		if !c.SignedIn {
			return nil, errors.New("please run 'az login' to setup account")
		}
		return object{"id": subscription, "name": "Pay as you go", "user": object{"name": "someone@example.com"}}, nil
	case "group show":
		if name := k.option("--name"); name != "sluice" && !slices.Contains(c.Groups, name) {
			return nil, errNotFound
		}
		return object{"id": "/subscriptions/" + subscription + "/resourceGroups/sluice", "location": "westeurope"}, nil
	case "group create":
		c.Groups = append(c.Groups, k.option("--name"))
		return object{}, nil
	case "group delete":
		c.Groups = slices.DeleteFunc(c.Groups, func(n string) bool { return n == k.option("--name") })
		return object{}, nil
	case "provider list":
		var list []object
		for _, name := range c.Unregistered {
			list = append(list, object{"namespace": name, "registrationState": "NotRegistered"})
		}
		return list, nil
	case "provider register":
		return object{}, c.register(k.option("--namespace"))
	case "resource list":
		return c.list(k)
	case "resource show":
		i := slices.IndexFunc(c.Resources, func(r resource) bool { return r.ID == k.option("--ids") })
		if i < 0 {
			return nil, errNotFound
		}
		if c.Faults.PublicServer {
			return object{"properties": object{"network": object{}}}, nil
		}
		return object{"properties": c.Resources[i].Properties}, nil
	case "keyvault show", "keyvault secret list", "keyvault list-deleted":
		return c.keyVault(k)
	case "rest":
		if strings.HasPrefix(k.option("--url"), logs) {
			return c.logs(k)
		}
		if k.option("--method") == "get" {
			return c.vaultSecrets(k.option("--url"))
		}
	case "acr show", "acr repository show", "acr build", "acr login":
		return c.registry(k)
	case "monitor log-analytics workspace show":
		return object{"customerId": "workspace-id"}, nil
	}
	if strings.HasPrefix(k.Command, "deployment ") {
		return c.deployment(k)
	}
	if strings.HasPrefix(k.Command, "containerapp job ") {
		return c.job(k)
	}
	return c.containerApp(k)
}

// register is for whoever may write to the subscription (learn.microsoft.com,
// azure-resource-manager/management/resource-providers-and-types: the register
// action is of the subscription, and Contributor and Owner of it have it).
func (c *cloud) register(namespace string) error {
	if !c.MayRegister {
		return fmt.Errorf("(AuthorizationFailed) The client does not have authorization to perform action "+
			"'%s/register/action' over scope '/subscriptions/%s'", namespace, subscription)
	}
	c.Unregistered = slices.DeleteFunc(c.Unregistered, func(n string) bool { return n == namespace })
	return nil
}

// list reads a cache that is behind (learn.microsoft.com,
// azure-resource-manager/troubleshooting/common-deployment-errors: a resource is
// not found right after it was made).
func (c *cloud) list(k call) (any, error) {
	if k.has("--tag") && k.has("--resource-group") {
		// azure-cli, command_modules/resource/custom.py, _list_resources_odata_filter_builder,
		// and the service: a filter by tag stands alone.
		return nil, fmt.Errorf("%w: you cannot use the tag filter with other filters", errUsage)
	}
	list := []object{}
	for i := range c.Resources {
		if r := &c.Resources[i]; r.Hidden > 0 {
			r.Hidden--
		} else {
			list = append(list, object{"id": r.ID, "type": r.Type, "name": r.Name, "tags": r.Tags})
		}
	}
	return list, nil
}

// keyVault is the data plane, and what soft delete keeps.
func (c *cloud) keyVault(k call) (any, error) {
	list := []object{}
	switch k.Command {
	case "keyvault show":
		if c.Faults.VaultHidden || !slices.ContainsFunc(c.Resources, func(r resource) bool {
			return r.Type == "Microsoft.KeyVault/vaults" && r.Name == k.option("--name")
		}) {
			return nil, errNotFound
		}
		return object{"id": k.option("--name")}, nil
	case "keyvault secret list":
		if c.Faults.SecretsHidden || c.Faults.VaultHidden {
			return nil, errors.New("(Forbidden) Caller is not authorized to perform action on resource")
		}
		for _, name := range c.Secrets {
			list = append(list, object{"name": name})
		}
	default:
		for _, name := range c.Deleted {
			list = append(list, object{"name": name})
		}
	}
	return list, nil
}

// vaultSecrets is the control plane's list of a vault's secrets, by pages
// (learn.microsoft.com, rest/api/keyvault/keyvault/secrets/list).
func (c *cloud) vaultSecrets(url string) (any, error) {
	id, query, _ := strings.Cut(strings.TrimPrefix(url, "https://management.azure.com"), "/secrets?api-version=2026-02-01")
	if !c.has(id) {
		return nil, errNotFound
	}
	if c.Faults.ControlHidden || c.Faults.VaultHidden {
		return nil, errors.New("(AuthorizationFailed) does not have authorization to perform action 'Microsoft.KeyVault/vaults/secrets/read'")
	}
	from, _ := strconv.Atoi(strings.TrimPrefix(query, "&from=")) // none is the first page
	list := []object{}
	for _, name := range c.Secrets[from:min(from+2, len(c.Secrets))] {
		list = append(list, object{"name": name})
	}
	page := object{"value": list}
	if from+2 < len(c.Secrets) {
		page["nextLink"] = fmt.Sprintf("https://management.azure.com%s/secrets?api-version=2026-02-01&from=%d", id, from+2)
	}
	return page, nil
}

const logs = "https://api.loganalytics.io/v1/workspaces/"

// logs answers a query (learn.microsoft.com, azure-monitor/logs/api/response-format).
// az knows no token for that address by itself (azure-cli, core/util.py,
// send_raw_request).
func (c *cloud) logs(k call) (any, error) {
	if k.option("--url") != logs+"workspace-id/query" || !strings.Contains(k.option("--url-parameters"), "query=") {
		return nil, errNotFound
	}
	if k.option("--resource") != "https://api.loganalytics.io" {
		return nil, errors.New("Unauthorized: can't derive appropriate Azure AD resource from --url")
	}
	rows := [][]string{}
	for _, line := range c.History {
		rows = append(rows, []string{line})
	}
	return object{"tables": []object{{"name": "PrimaryResult", "rows": rows}}}, nil
}

// registry builds as the build service does: it scans the Dockerfile first.
func (c *cloud) registry(k call) (any, error) {
	switch k.Command {
	case "acr show":
		return object{"loginServer": k.option("--name") + ".azurecr.io"}, nil
	case "acr repository show":
		digest, ok := c.Images[k.option("--image")]
		if !ok {
			return nil, errNotFound
		}
		return object{"digest": digest}, nil
	case "acr login":
		return object{"accessToken": secret, "loginServer": k.option("--name") + ".azurecr.io"}, nil
	}
	if c.Faults.TasksRefused {
		// Azure-Samples/azure-search-openai-demo issue 2220.
		return nil, errors.New("(TasksOperationsNotAllowed) ACR Tasks requests for the registry are not permitted")
	}
	text, err := os.ReadFile(k.option("--file"))
	if err != nil {
		return nil, err
	}
	if _, err := scanDockerfile(string(text), k.Options["--build-arg"]); err != nil {
		return nil, fmt.Errorf("failed to scan dependencies: %w\nRun ID: cb1 failed after 10s", err)
	}
	c.push(k.option("--image"))
	return object{}, nil
}

func (c *cloud) push(name string) {
	if c.Images == nil {
		c.Images = map[string]string{}
	}
	c.Images[name] = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name)))
}

// pulls says whether an image can be pulled, by tag or by digest.
func (c *cloud) pulls(image string) bool {
	registry, name, _ := strings.Cut(image, "/")
	if !strings.HasSuffix(registry, ".azurecr.io") {
		return true // somebody else's
	}
	if repository, digest, ok := strings.Cut(name, "@"); ok {
		for tagged, d := range c.Images {
			if d == digest && strings.HasPrefix(tagged, repository+":") {
				return true
			}
		}
		return false
	}
	return c.Images[name] != ""
}
