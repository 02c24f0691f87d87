"""One use case each: no transport, no SQL."""
