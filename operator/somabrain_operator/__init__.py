"""Kubernetes operator that turns a SomaBrain resource into a running, migrated and protected memory service."""
