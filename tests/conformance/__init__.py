"""The store's tests against a PostgreSQL that a user names: `make conformance`."""
