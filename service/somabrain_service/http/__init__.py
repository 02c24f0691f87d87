"""Probes and metrics over HTTP; no data of memories."""
