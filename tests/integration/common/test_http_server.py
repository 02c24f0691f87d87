"""The HTTP server of probes and metrics over real sockets."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp import web

from common.config.settings import HttpSettings
from common.errors import ConfigurationError
from common.net.http_server import http_server

FAMILIES = ("127.0.0.1", "[::1]") if socket.has_dualstack_ipv6() else ("127.0.0.1",)
"""Loopback addresses of the families that this machine has."""


async def livez(_: web.Request) -> web.Response:
    return web.Response(text="ok")


def application() -> web.Application:
    app = web.Application()
    app.add_routes([web.get("/livez", livez)])
    return app


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_wildcard_host_listens_on_ipv4_and_ipv6(host: str) -> None:
    """A server on all addresses answers over IPv4 and IPv6 on one port, since a pod may have only one of the two."""
    async with (
        http_server(HttpSettings(host=host, port=0), application()) as port,
        aiohttp.ClientSession() as session,
    ):
        for address in FAMILIES:
            async with session.get(f"http://{address}:{port}/livez") as response:
                assert await response.text() == "ok"


async def test_single_address_host_binds_only_that_address() -> None:
    """A server on one address does not answer at another."""
    async with http_server(HttpSettings(host="127.0.0.1", port=0), application()) as port:
        with pytest.raises(OSError, match=r"refused|assign|not supported"):  # the latter two without IPv6
            socket.create_connection(("::1", port), timeout=2)


async def test_occupied_port_is_refused_with_setting_and_remedy() -> None:
    """A port in use over IPv4 alone is refused, naming the setting and the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigurationError,
            match=rf"^http\.port: 0\.0\.0\.0:{port} cannot be bound \(Address already in use\); free it",
        ):
            async with http_server(HttpSettings(host="0.0.0.0", port=port), application()):
                pass
