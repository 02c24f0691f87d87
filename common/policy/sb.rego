# METADATA
# title: What callers of somabrain.memory.v1 may do
# description: >
#   The default policy. Allowed is who belongs to a tenant and, where the service is told of a scope claim
#   (input.scopes is then a list, never null), holds the scope of the method; unless data.sb.limits, where it is given,
#   or a scope such as `namespace:notes-*` forbids it. Everything else is denied, and `reasons` names the rule. Another
#   policy takes its place by answering the same two names. Tables stand in functions, because the service is answered
#   with every rule of this package.
package sb.policy

default allow := false

allow if {
	limits_understood
	tenant_present
	scope_held
	tenant_writable
	namespace_reachable
}

tenant_present if {
	is_string(input.tenant)
	input.tenant != ""
}

# null: no scope claim is configured. A missing `scopes` is not null, and holds nothing.
scope_held if input.scopes == null

scope_held if scope in input.scopes

scope := scope_of(input.method)

# A rule of its own: inside `not`, a list that is not there would make the whole undefined.
tenant_read_only if input.tenant in data.sb.limits.read_only_tenants

tenant_writable if not tenant_read_only

tenant_writable if scope == "memory.read"

namespace_reachable if {
	every patterns in reaches {
		some pattern in patterns
		glob.match(pattern, null, input.namespace)
	}
}

# Sets of patterns; a namespace must fit one of each. First what data.sb.limits lists for the subject, or else for the
# others of its tenant; then what the caller's scopes list.
reaches contains patterns if {
	subjects := data.sb.limits.namespaces[input.tenant]
	others := object.get(subjects, "*", ["*"])
	patterns := object.get(subjects, object.get(input, "subject", "*"), others)
}

reaches contains patterns if {
	patterns := {substring(held, 10, -1) | some held in input.scopes; startswith(held, "namespace:")}
	count(patterns) > 0
}

# What is misspelt must not be a limit that is silently not there.
limits_understood if not data.sb.limits

limits_understood if understood(data.sb.limits)

reasons contains "limits_understood: data.sb.limits is not as the policy reads it" if not limits_understood

reasons contains "tenant_present: the caller's token names no tenant" if not tenant_present

reasons contains sprintf("scope_held: %s needs the scope %s", [input.method, scope]) if {
	not scope_held
}

reasons contains sprintf("scope_held: no scope is for %v", [object.get(input, "method", "an unnamed method")]) if {
	not scope_held
	not scope
}

reasons contains "tenant_writable: the tenant is read-only" if not tenant_writable

reasons contains "namespace_reachable: it is none of the namespaces that the caller is held to" if {
	not namespace_reachable
}

understood(limits) if json.match_schema(limits, {
	"type": "object",
	"additionalProperties": false,
	"properties": {
		"read_only_tenants": {"type": "array", "items": {"type": "string"}},
		"namespaces": {
			"type": "object",
			"additionalProperties": {
				"type": "object",
				"additionalProperties": {"type": "array", "items": {"type": "string"}},
			},
		},
	},
})[0]

scope_of(method) := name if {
	methods_of_scope := {
		"memory.read": {
			"/somabrain.memory.v1.MemoryService/ExportMemories",
			"/somabrain.memory.v1.MemoryService/GetMemory",
			"/somabrain.memory.v1.MemoryService/ListMemories",
			"/somabrain.memory.v1.MemoryService/ListRevisions",
			"/somabrain.memory.v1.MemoryService/ListSessions",
			"/somabrain.memory.v1.MemoryService/ListSubjects",
			"/somabrain.memory.v1.MemoryService/Recall",
			"/somabrain.memory.v1.MemoryService/WatchMemories",
			"/somabrain.memory.v1.NamespaceService/GetNamespace",
			"/somabrain.memory.v1.NamespaceService/ListNamespaces",
		},
		"memory.write": {
			"/somabrain.memory.v1.MemoryService/BatchForget",
			"/somabrain.memory.v1.MemoryService/BatchRemember",
			"/somabrain.memory.v1.MemoryService/ForgetMemories",
			"/somabrain.memory.v1.MemoryService/ForgetMemory",
			"/somabrain.memory.v1.MemoryService/Remember",
			"/somabrain.memory.v1.MemoryService/TouchMemory",
			"/somabrain.memory.v1.MemoryService/UpdateMemory",
		},
		"memory.admin": {
			"/somabrain.memory.v1.NamespaceService/CreateNamespace",
			"/somabrain.memory.v1.NamespaceService/DeleteNamespace",
			"/somabrain.memory.v1.NamespaceService/EraseSubject",
			"/somabrain.memory.v1.NamespaceService/UpdateNamespace",
		},
	}
	some name, methods in methods_of_scope
	method in methods
}
