"""The memory service: memories over gRPC, stored in PostgreSQL."""
