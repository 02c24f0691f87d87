"""Differences of live objects from rendered ones: fields changed, missing, or added by others. Pure."""
