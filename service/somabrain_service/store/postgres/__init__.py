"""The store over PostgreSQL with pgvector: exact search in SQL, tenants kept apart by row security."""
