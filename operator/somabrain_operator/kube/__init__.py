"""Kubernetes itself: client, kinds, errors, names, and access to objects. Knows nothing of SomaBrain's logic."""
