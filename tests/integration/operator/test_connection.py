"""The operator's connection to the API server outlasts renewed tokens and an interruption."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import kopf
import pytest
import yaml

from common.errors import PermissionDenied
from devcluster.loopback import api_server
from somabrain_operator.kube.transport import Transport, credentials, open_transport
from tests.integration.operator.api import Api, api_of
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import SYSTEM, account_of, install
from tests.integration.operator.forwarder import forwarder
from tests.integration.operator.process import operator
from tests.support.waiting import eventually

GROUPS = "/apis"
"""A path that every account may read."""


@pytest.fixture
def separate_api() -> Iterator[Api]:
    """A separate API server, for an operator that must be the only one."""
    with api_server() as server, api_of(server) as api:
        install(api)
        yield api


def bound(api: Api, folder: Path, name: str) -> Path:
    """Write a kubeconfig whose token is valid while the Secret `name` exists, so that no test waits for its expiry."""
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}, SYSTEM)
    return account_of(api, folder, "--bound-object-kind=Secret", f"--bound-object-name={name}")


def end(api: Api, kubeconfig: str, name: str) -> None:
    """End the token of a kubeconfig, and wait until the API server, which caches checked tokens, refuses it."""
    api.delete("Secret", name, SYSTEM)
    token = yaml.safe_load(kubeconfig)["users"][0]["user"]["token"]
    request = urllib.request.Request(api.server.url + GROUPS, headers={"Authorization": f"Bearer {token}"})
    trusted = ssl.create_default_context(cafile=str(api.server.ca_file))

    def status() -> int:
        try:
            with urllib.request.urlopen(request, context=trusted, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    eventually(status, lambda code: code == 401, "the token is refused")


async def test_transport_rereads_token_after_unauthorized_response(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open transport reads a renewed token after a refusal, which is raised while the file has the old one."""
    file = bound(api, tmp_path, "first")
    before = file.read_text()
    monkeypatch.setenv("KUBECONFIG", str(file))

    async def request_groups(opened: Transport) -> object:
        return (await opened.request("the groups", "GET", GROUPS))["kind"]

    async with open_transport(lambda: credentials(kopf.OperatorSettings())) as opened:
        assert await request_groups(opened) == "APIGroupList"
        end(api, before, "first")
        with pytest.raises(PermissionDenied, match="no permission for this request on the groups: Unauthorized"):
            await request_groups(opened)
        bound(api, tmp_path, "second")
        assert await request_groups(opened) == "APIGroupList"
    api.delete("Secret", "second", SYSTEM)


def test_operator_continues_after_token_renewal(separate_api: Api, tmp_path: Path) -> None:
    """An operator whose token is renewed continues: an edit after the old token's end is applied and in the status.

    The file is a kubeconfig; a pod's token is in a file at a fixed path, and is read by the same function.
    """
    file = bound(separate_api, tmp_path, "first")
    before = file.read_text()
    separate_api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    brain = Brain(separate_api, "demo")
    brain.secrets()
    with operator(file, tmp_path / "log") as running:
        running.wait_until_started()
        brain.apply()
        ControllerStub(brain).serve()
        bound(separate_api, tmp_path, "second")
        end(separate_api, before, "first")
        brain.apply(config={"logLevel": "debug"})
        eventually(
            lambda: json.dumps(brain.child("ConfigMap", "config")["data"]),
            lambda data: "debug" in data,
            "it is applied",
        )
        brain.until("ConfigValid", "True")
        assert running.process.poll() is None


AWAY_S = 13
"""An interruption that ends between two attempts of a client that waits 1, 1, 2, 3, 5 and 8 seconds."""
DELIVERY_S = 4


def test_operator_reconnects_promptly_after_api_server_outage(separate_api: Api, tmp_path: Path) -> None:
    """An edit right after the API server returns is applied at once, however long it was unreachable."""
    account = account_of(separate_api, tmp_path)
    separate_api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    brain = Brain(separate_api, "demo")
    brain.secrets()
    with forwarder(separate_api.server.url) as between:
        account.write_text(account.read_text().replace(between.target, between.url))
        # A shorter Lease would be lost, and everything listed again on the server's return.
        long_lease = {"SOMABRAIN_OPERATOR__LEASE_DURATION_S": str(5 * AWAY_S)}
        with operator(account, tmp_path / "log", **long_lease) as running:
            running.wait_until_started()
            brain.apply()
            ControllerStub(brain).serve()
            with between.unreachable():
                time.sleep(AWAY_S)
            brain.apply(replicas=2)
            eventually(brain.deployment, lambda live: live["spec"]["replicas"] == 2, "it is applied", DELIVERY_S)
            assert "leader election lost" not in running.log.read_text()
