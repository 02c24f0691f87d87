"""The tests' Vault stores secrets until it is stopped, and restarts empty at the same address."""

from __future__ import annotations

from urllib.error import HTTPError, URLError

import pytest

from devcluster.loopback import vault


def test_vault_restart_is_empty_at_same_address() -> None:
    """A stored secret can be read; after a restart it no longer exists, and the root token is the same."""
    with vault() as server:
        server.put("tea", {"colour": "green"})
        assert server.call("GET", "secret/data/tea")["data"]["data"] == {"colour": "green"}
        server.process.stop()
        with pytest.raises(URLError, match="refused"):
            server.call("GET", "sys/health")
        server.process.start()
        with pytest.raises(HTTPError, match="404"):
            server.call("GET", "secret/data/tea")
