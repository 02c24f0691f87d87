"""Flags: behaviour that can be changed while the service runs."""
