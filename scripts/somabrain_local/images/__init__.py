"""Container images without a registry: built here, kept as archives, loaded where they are missing."""
