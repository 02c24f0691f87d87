"""Probes and metrics over HTTP; nothing of memory."""
