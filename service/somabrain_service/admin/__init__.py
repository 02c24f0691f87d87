"""Commands for administrators: migration, a new epoch, the embedded PostgreSQL."""
