"""The Kubernetes operator: a SomaBrain resource becomes a running, migrated, guarded memory service."""
