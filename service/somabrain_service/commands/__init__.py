"""Use cases, one per module, independent of transport and SQL."""
