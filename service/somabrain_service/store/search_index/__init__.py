"""Namespaces in memory: the searches of a Recall answered from arrays, exactly as PostgreSQL answers them."""
