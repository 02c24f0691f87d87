"""A program whose blocking client iterates when it forks, for a test: python -m ... ADDRESS TOKEN.

It is a separate process, without gRPC's handlers of forks: these crash some forked processes of a connected client
before any Python code runs in them.
"""

from __future__ import annotations

import sys

from somabrain_client import Change, MemoryDraft, SyncMemoryClient
from tests.forking import error_in_fork


def main(address: str, token: str) -> None:
    """Print "told" for each forked use that is refused with the remedy, then what the parent process reads."""
    with SyncMemoryClient(address, token=token) as client:
        client.batch_remember("notes", [MemoryDraft(f"number {number}") for number in range(3)])
        listing, events = client.list("notes", page_size=1), client.watch("notes")
        next(listing)
        next(events)
        for call in (lambda: client.recall("notes", "number"), lambda: next(listing), lambda: next(events)):
            assert "create the first client after the fork" in error_in_fork(call)
            print("told")
        assert error_in_fork(events.close) == error_in_fork(listing.close) == error_in_fork(client.close) == ""
        print(*(memory.text for memory in listing), sep=", ")
        client.remember("notes", "after the fork")
        change = next(event for event in events if isinstance(event, Change))
        events.close()
        print(client.get(change.name).text)


if __name__ == "__main__":
    main(*sys.argv[1:])
