# METADATA
# title: What callers of somabrain.memory.v1 may do
# description: >
#   The default policy. Allowed is who belongs to a tenant and, where the service is told of a scope claim
#   (input.scopes is then a list, never null), holds the scope of the method. Everything else is denied, and
#   `reasons` names the rule. Another policy takes its place by answering the same two names.
package sb.policy

default allow := false

allow if {
	tenant_present
	scope_held
}

tenant_present if {
	is_string(input.tenant)
	input.tenant != ""
}

# null: no scope claim is configured. A missing `scopes` is not null, and holds nothing.
scope_held if input.scopes == null

scope_held if {
	some scope in input.scopes
	scope == scope_of_method[input.method]
}

reasons contains "tenant_present: the caller's token names no tenant" if not tenant_present

reasons contains sprintf("scope_held: %s needs the scope %s", [input.method, scope]) if {
	not scope_held
	scope := scope_of_method[input.method]
}

reasons contains sprintf("scope_held: no scope is for %v", [object.get(input, "method", "an unnamed method")]) if {
	not scope_held
	not scope_of_method[input.method]
}

scope_of_method[method] := scope if {
	some scope, methods in methods_of_scope
	some method in methods
}

methods_of_scope := {
	"memory.read": {
		"/somabrain.memory.v1.MemoryService/ExportMemories",
		"/somabrain.memory.v1.MemoryService/GetMemory",
		"/somabrain.memory.v1.MemoryService/ListMemories",
		"/somabrain.memory.v1.MemoryService/ListRevisions",
		"/somabrain.memory.v1.MemoryService/Recall",
		"/somabrain.memory.v1.MemoryService/WatchMemories",
		"/somabrain.memory.v1.NamespaceService/GetNamespace",
		"/somabrain.memory.v1.NamespaceService/ListNamespaces",
	},
	"memory.write": {
		"/somabrain.memory.v1.MemoryService/BatchForget",
		"/somabrain.memory.v1.MemoryService/BatchRemember",
		"/somabrain.memory.v1.MemoryService/ForgetMemory",
		"/somabrain.memory.v1.MemoryService/Remember",
		"/somabrain.memory.v1.MemoryService/UpdateMemory",
	},
	"memory.admin": {
		"/somabrain.memory.v1.NamespaceService/CreateNamespace",
		"/somabrain.memory.v1.NamespaceService/DeleteNamespace",
		"/somabrain.memory.v1.NamespaceService/EraseSubject",
		"/somabrain.memory.v1.NamespaceService/UpdateNamespace",
	},
}
