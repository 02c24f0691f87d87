"""What is between the operator and the API server: tokens that are renewed, and a server that is away for a while."""

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
from somabrain_local.loopback import api_server
from somabrain_operator.cluster.transport import Transport, credentials, open_transport
from tests.integration.operator.api import Api, api_of, eventually
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import SYSTEM, account_of, install
from tests.integration.operator.forwarder import forwarder
from tests.integration.operator.process import operator

GROUPS = "/apis"
"""What every account may ask."""


@pytest.fixture
def apart() -> Iterator[Api]:
    """An API server of its own, for an operator that must be alone."""
    with api_server() as server, api_of(server) as api:
        install(api)
        yield api


def bound(api: Api, folder: Path, name: str) -> Path:
    """Write a kubeconfig whose token lives as long as the Secret `name`: who deletes it need not wait for an expiry."""
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}, SYSTEM)
    return account_of(api, folder, "--bound-object-kind=Secret", f"--bound-object-name={name}")


def end(api: Api, kubeconfig: str, name: str) -> None:
    """End the token of a kubeconfig, and wait until the API server, which keeps what it checked, refuses it."""
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


async def test_a_renewed_token_is_read_once_the_old_one_is_refused(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The open connection goes on with it; while the file still holds the old one, the refusal is told."""
    file = bound(api, tmp_path, "first")
    before = file.read_text()
    monkeypatch.setenv("KUBECONFIG", str(file))

    async def look(opened: Transport) -> object:
        return (await opened.request("the groups", "GET", GROUPS))["kind"]

    async with open_transport(lambda: credentials(kopf.OperatorSettings())) as opened:
        assert await look(opened) == "APIGroupList"
        end(api, before, "first")
        with pytest.raises(PermissionDenied, match="no permission for this request on the groups: Unauthorized"):
            await look(opened)
        bound(api, tmp_path, "second")
        assert await look(opened) == "APIGroupList"
    api.delete("Secret", "second", SYSTEM)


def test_an_operator_whose_token_is_renewed_goes_on(apart: Api, tmp_path: Path) -> None:
    """Its watches and its writes, in the same process: an edit after the old token's end is applied and told.

    The file is a kubeconfig; a pod's token lies in a file of a fixed place, and is read by the same function.
    """
    file = bound(apart, tmp_path, "first")
    before = file.read_text()
    apart.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    brain = Brain(apart, "demo")
    brain.secrets()
    with operator(file, tmp_path / "log") as running:
        running.wait_until_started()
        brain.apply()
        ControllerStub(brain).serve()
        bound(apart, tmp_path, "second")
        end(apart, before, "first")
        brain.apply(config={"logLevel": "debug"})
        eventually(
            lambda: json.dumps(brain.child("ConfigMap", "config")["data"]),
            lambda said: "debug" in said,
            "it is applied",
        )
        brain.until("ConfigValid", "True")
        assert running.process.poll() is None


AWAY_S = 13
"""Between two tries of whoever waits longer after each: 1, 1, 2, 3, 5 and 8 seconds."""
DELIVERY_S = 4


def test_an_api_server_that_was_away_is_heard_as_soon_as_it_is_back(apart: Api, tmp_path: Path) -> None:
    """An edit right after its return is applied, however long the watches had tried in vain."""
    account = account_of(apart, tmp_path)
    apart.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    brain = Brain(apart, "demo")
    brain.secrets()
    with forwarder(apart.server.url) as between:
        account.write_text(account.read_text().replace(between.target, between.url))
        leads_on = {"SOMABRAIN_OPERATOR__LEASE_DURATION_S": str(5 * AWAY_S)}  # or it would list everything anew on its return
        with operator(account, tmp_path / "log", **leads_on) as running:
            running.wait_until_started()
            brain.apply()
            ControllerStub(brain).serve()
            with between.unreachable():
                time.sleep(AWAY_S)
            brain.apply(replicas=2)
            eventually(brain.deployment, lambda found: found["spec"]["replicas"] == 2, "it is applied", DELIVERY_S)
            assert "leader election lost" not in running.log.read_text()
