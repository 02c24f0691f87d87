"""Authentication: bearer tokens, their claims, signatures, keys and introspection."""
