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

test_an_empty_question_is_denied_for_every_reason if {
	not policy.allow with input as {}
	reasons := policy.reasons with input as {}
	reasons == {
		"tenant_present: the caller's token names no tenant",
		"scope_held: no scope is for an unnamed method",
	}
}

limited := {
	"read_only_tenants": ["archive"],
	"namespaces": {
		"a": {"reporter": ["reports", "reports-*"], "nobody": [], "root": ["*"]},
		"b": {"*": ["public-*"], "editor": ["public-*", "drafts"]},
	},
}

of(tenant, subject, scopes, method, namespace) := {
	"tenant": tenant,
	"subject": subject,
	"scopes": scopes,
	"method": method,
	"namespace": namespace,
}

create := "/somabrain.memory.v1.NamespaceService/CreateNamespace"

list := "/somabrain.memory.v1.NamespaceService/ListNamespaces"

test_a_read_only_tenant_reads if {
	every method in [recall, list] {
		asked := of("archive", "agent", null, method, "notes")
		policy.allow with input as asked with data.sb.limits as limited
	}
}

test_a_read_only_tenant_does_not_write_whatever_its_scopes if {
	every method in [remember, create] {
		asked := of("archive", "agent", ["memory.write", "memory.admin"], method, "notes")
		not policy.allow with input as asked with data.sb.limits as limited
		reasons := policy.reasons with input as asked with data.sb.limits as limited
		reasons == {"tenant_writable: the tenant is read-only"}
	}
}

test_other_tenants_write if {
	asked := of("c", "agent", null, remember, "notes")
	policy.allow with input as asked with data.sb.limits as limited
}

held_to := "namespace_reachable: it is none of the namespaces that the caller is held to"

test_a_listed_subject_reaches_what_is_listed_and_nothing_else if {
	every namespace in ["reports", "reports-2026"] {
		asked := of("a", "reporter", null, remember, namespace)
		policy.allow with input as asked with data.sb.limits as limited
	}
	every namespace in ["notes", "report", "my-reports", ""] {
		asked := of("a", "reporter", null, remember, namespace)
		not policy.allow with input as asked with data.sb.limits as limited
		reasons := policy.reasons with input as asked with data.sb.limits as limited
		reasons == {held_to}
	}
}

test_a_listed_subject_does_not_see_the_names_of_all if {
	asked := of("a", "reporter", null, list, "")
	not policy.allow with input as asked with data.sb.limits as limited
	everything := of("a", "root", null, list, "")
	policy.allow with input as everything with data.sb.limits as limited
}

test_an_empty_list_is_nothing if {
	asked := of("a", "nobody", null, recall, "notes")
	not policy.allow with input as asked with data.sb.limits as limited
}

test_who_is_not_listed_is_not_held if {
	asked := of("a", "agent", null, remember, "notes")
	policy.allow with input as asked with data.sb.limits as limited
}

test_a_star_holds_the_others_of_a_tenant if {
	reachable := {case |
		some case in [["agent", "public-1"], ["agent", "drafts"], ["editor", "drafts"], ["editor", "notes"]]
		asked := of("b", case[0], null, remember, case[1])
		policy.allow with input as asked with data.sb.limits as limited
	}
	reachable == {["agent", "public-1"], ["editor", "drafts"]}
}

test_a_question_without_a_subject_is_held_like_the_others if {
	asked := object.remove(of("b", "", null, remember, "drafts"), {"subject"})
	not policy.allow with input as asked with data.sb.limits as limited
}

test_a_scope_holds_its_caller_to_namespaces if {
	reachable := {namespace |
		some namespace in ["notes-1", "reports", "notes", ""]
		policy.allow with input as of("a", "agent", ["memory.read", "namespace:notes-*", "namespace:reports"], recall, namespace)
	}
	reachable == {"notes-1", "reports"}
}

test_scope_and_list_hold_both if {
	reachable := {namespace |
		some namespace in ["reports", "reports-1", "notes"]
		asked := of("a", "reporter", ["memory.read", "namespace:reports-*", "namespace:notes"], recall, namespace)
		policy.allow with input as asked with data.sb.limits as limited
	}
	reachable == {"reports-1"}
}

test_a_pattern_that_is_none_reaches_nothing if {
	not policy.allow with input as of("a", "agent", ["memory.read", "namespace:["], recall, "notes")
	not policy.allow with input as of("a", "agent", ["memory.read", "namespace:"], recall, "notes")
}

test_limits_that_are_not_as_the_policy_reads_them_deny_everything if {
	every limits in [
		{"readonly_tenants": ["a"]},
		{"read_only_tenants": "a"},
		{"read_only_tenants": [7]},
		{"namespaces": ["notes"]},
		{"namespaces": {"a": ["notes"]}},
		{"namespaces": {"a": {"agent": "notes"}}},
		[],
		null,
		"",
		0,
	] {
		asked := call("a", null, recall)
		not policy.allow with input as asked with data.sb.limits as limits
		reasons := policy.reasons with input as asked with data.sb.limits as limits
		reasons["limits_understood: data.sb.limits is not as the policy reads it"]
	}
}

test_no_limits_are_none if {
	policy.allow with input as call("a", null, remember) with data.sb.limits as {}
}
