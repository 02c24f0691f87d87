"""How text becomes a vector."""
