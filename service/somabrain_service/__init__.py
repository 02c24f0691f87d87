"""The memory service: memories over gRPC, kept in PostgreSQL."""
