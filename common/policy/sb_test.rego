package sb.policy_test

import data.sb.policy

remember := "/somabrain.memory.v1.MemoryService/Remember"

recall := "/somabrain.memory.v1.MemoryService/Recall"

call(tenant, scopes, method) := {
	"subject": "system:serviceaccount:a:agent",
	"tenant": tenant,
	"scopes": scopes,
	"method": method,
	"namespace": "notes",
}

test_a_tenant_without_a_scope_claim_may if policy.allow with input as call("a", null, remember)

test_the_scope_of_the_method_is_enough if policy.allow with input as call("a", ["memory.write"], remember)

test_another_scope_is_not if {
	asked := call("a", ["memory.read"], remember)
	not policy.allow with input as asked
	reasons := policy.reasons with input as asked
	reasons == {"scope_held: /somabrain.memory.v1.MemoryService/Remember needs the scope memory.write"}
}

test_a_token_without_scopes_holds_none if not policy.allow with input as call("a", [], recall)

test_missing_scopes_are_not_null if {
	asked := object.remove(call("a", null, recall), {"scopes"})
	not policy.allow with input as asked
}

test_a_missing_tenant_is_named if {
	reasons := policy.reasons with input as call("", null, recall)
	reasons == {"tenant_present: the caller's token names no tenant"}
}

test_every_kind_of_missing_tenant_is_denied if {
	every tenant in ["", null, 7, []] {
		asked := call(tenant, null, recall)
		not policy.allow with input as asked
	}
}

test_a_method_nobody_has_a_scope_for_is_denied if {
	asked := call("a", ["memory.read", "memory.write", "memory.admin"], "/somabrain.memory.v1.MemoryService/Nothing")
	not policy.allow with input as asked
	reasons := policy.reasons with input as asked
	reasons == {"scope_held: no scope is for /somabrain.memory.v1.MemoryService/Nothing"}
}

test_an_empty_question_is_denied if not policy.allow with input as {}
