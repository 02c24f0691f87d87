"""The Python client of somabrain.memory.v1, and its command line."""
