"""Clients of shared infrastructure: exactly the files the roadmap names."""
