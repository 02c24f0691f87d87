"""Parts that tests of several folders share: the waiter, clones of the migrated database, the reader of metrics."""
