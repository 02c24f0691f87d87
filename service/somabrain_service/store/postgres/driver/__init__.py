"""The driver: connections, pool, statements and transactions over libpq. Knows no table."""
