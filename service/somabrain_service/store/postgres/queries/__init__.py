"""The SQL statements, and functions that run several of them in an open transaction."""
