"""The process's servers: gRPC, HTTP for probes and metrics, TLS and readiness."""
