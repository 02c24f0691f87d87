// kstatus judges objects as the tools do that wait for them: kpt and Helm 4 (sigs.k8s.io/cli-utils), Flux (its own
// cli-utils, and the healthCheckExprs of a Kustomization), and Argo CD (a health.lua in gopher-lua, with the libraries
// that Argo CD opens).
//
//	kstatus HEALTH_LUA KUSTOMIZATION_YAML < OBJECTS_JSON > JUDGEMENTS_JSON
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	fluxstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

// judgement is one tool's answer for one object.
type judgement struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func run(arguments []string, input io.Reader, output io.Writer) error {
	if len(arguments) != 2 {
		return fmt.Errorf("expected HEALTH_LUA and KUSTOMIZATION_YAML, got %d arguments", len(arguments))
	}
	script, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	evaluator, err := fluxEvaluator(arguments[1])
	if err != nil {
		return err
	}
	text, err := io.ReadAll(input)
	if err != nil {
		return err
	}
	var objects []json.RawMessage
	if err := json.Unmarshal(text, &objects); err != nil {
		return fmt.Errorf("the objects are not a JSON list: %w", err)
	}
	judgements := make([]map[string]judgement, 0, len(objects))
	for index, each := range objects {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(each); err != nil {
			return fmt.Errorf("object %d: %w", index, err)
		}
		judged, err := judge(object, string(script), evaluator)
		if err != nil {
			return fmt.Errorf("object %d: %w", index, err)
		}
		judgements = append(judgements, judged)
	}
	return json.NewEncoder(output).Encode(judgements)
}

func judge(object *unstructured.Unstructured, script string, exprs *cel.StatusEvaluator) (map[string]judgement, error) {
	kpt, err := status.Compute(object)
	if err != nil {
		return nil, fmt.Errorf("kstatus: %w", err)
	}
	flux, err := fluxstatus.Compute(object)
	if err != nil {
		return nil, fmt.Errorf("kstatus of Flux: %w", err)
	}
	return map[string]judgement{
		"kstatus":     {kpt.Status.String(), kpt.Message},
		"fluxKstatus": {flux.Status.String(), flux.Message},
		"fluxExprs":   fluxHealth(object, exprs),
		"argocd":      argoHealth(object, script),
	}, nil
}

// fluxHealth evaluates healthCheckExprs; an expression that does not fit the object is the judgement Error.
func fluxHealth(object *unstructured.Unstructured, exprs *cel.StatusEvaluator) judgement {
	result, err := exprs.Evaluate(context.Background(), object)
	if err != nil {
		return judgement{"Error", err.Error()}
	}
	return judgement{result.Status.String(), result.Message}
}

// fluxEvaluator returns the healthCheckExprs that a Kustomization has for SomaBrains.
func fluxEvaluator(path string) (*cel.StatusEvaluator, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var manifest struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &manifest); err != nil {
		return nil, err
	}
	for _, each := range manifest.Spec.HealthCheckExprs {
		if each.Kind == "SomaBrain" {
			return cel.NewStatusEvaluator(&each.HealthCheckExpressions)
		}
	}
	return nil, fmt.Errorf("%s has no healthCheckExprs for the kind SomaBrain", path)
}

// argoHealth runs a health script as Argo CD does: without the libraries of strings, files and processes. A script that
// fails or returns no health is the judgement Error.
func argoHealth(object *unstructured.Unstructured, script string) judgement {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	state.SetGlobal("obj", luaValue(state, object.Object))
	if err := state.DoString(script); err != nil {
		return judgement{"Error", err.Error()}
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return judgement{"Error", fmt.Sprintf("it returned %s and not a table", state.Get(-1).Type())}
	}
	health := judgement{lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))}
	switch health.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing":
		return health
	}
	return judgement{"Error", fmt.Sprintf("Argo CD knows no health %q", health.Status)}
}

// luaValue returns a JSON value as a value of Lua.
func luaValue(state *lua.LState, value any) lua.LValue {
	switch typed := value.(type) {
	case bool:
		return lua.LBool(typed)
	case int64:
		return lua.LNumber(typed)
	case float64:
		return lua.LNumber(typed)
	case string:
		return lua.LString(typed)
	case []any:
		table := state.CreateTable(len(typed), 0)
		for _, each := range typed {
			table.Append(luaValue(state, each))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(typed))
		for key, each := range typed {
			table.RawSetString(key, luaValue(state, each))
		}
		return table
	}
	return lua.LNil
}
