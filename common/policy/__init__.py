"""The default policy, in Rego."""
