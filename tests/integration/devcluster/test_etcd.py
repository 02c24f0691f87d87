"""The tests' etcd preserves its keys over a restart at the same address, and cancels watches of compacted revisions."""

from __future__ import annotations

import json
import urllib.request
from urllib.error import URLError

import pytest

from devcluster.loopback import etcd


def test_etcd_restart_preserves_keys() -> None:
    """A stopped etcd refuses connections; started again, it has its keys."""
    with etcd() as server:
        server.put("/flags/tea", "green")
        server.process.stop()
        with pytest.raises(URLError, match="refused"):
            server.get("/flags/tea")
        server.process.start()
        assert server.get("/flags/tea") == "green"
        server.delete("/flags/tea")
        assert server.get("/flags/tea") is None


def test_watch_from_compacted_revision_is_cancelled() -> None:
    """A watch from a compacted revision is cancelled, with the first revision that can be watched."""
    with etcd() as server:
        first, last = server.put("/flags/tea", "green"), server.put("/flags/tea", "black")
        server.compact(last)
        watch = {"create_request": {"key": "L2ZsYWdzL3RlYQ==", "start_revision": first}}
        request = urllib.request.Request(f"{server.url}/v3/watch", json.dumps(watch).encode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as stream:
            responses = [json.loads(stream.readline())["result"] for _ in range(2)]
        assert responses[-1]["canceled"] is True
        assert responses[-1]["compact_revision"] == str(last)
