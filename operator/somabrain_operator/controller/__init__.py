"""The controller: a work queue of keys, its rate limits, and the reconciler of one key."""
