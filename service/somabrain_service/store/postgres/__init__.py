"""The store over PostgreSQL with pgvector: exact search in SQL, tenants isolated by row security."""
