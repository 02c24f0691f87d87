"""Adapters: the memory interfaces of agent frameworks, over the client. Each is an extra with its framework alone.

Every adapter takes a `SyncMemoryClient`, whose calls run on the client's event loop, so it works from any thread and
from any event loop, as frameworks need that run each turn in a new one. The namespace must exist.
"""
