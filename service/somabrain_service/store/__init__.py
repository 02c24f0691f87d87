"""Storage of memories."""
