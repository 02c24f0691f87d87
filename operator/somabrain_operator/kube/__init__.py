"""Kubernetes itself: client, kinds, errors, names, owners, access to objects. Knows nothing of SomaBrain's logic."""
