"""Search indexes of namespaces in memory, with exactly the results of PostgreSQL."""
