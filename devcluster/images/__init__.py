"""Container images without a registry: built locally, cached as archives, loaded into clusters that lack them."""
