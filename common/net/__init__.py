"""Network helpers: the HTTP server of probes, TLS contexts and the Redis client."""
