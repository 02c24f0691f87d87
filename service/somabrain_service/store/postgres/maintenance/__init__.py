"""Background work in PostgreSQL: expiry, reindexing and the outbox, in sessions that hold a job's lock."""
