"""Clients of shared infrastructure: exactly the files that the roadmap names."""
