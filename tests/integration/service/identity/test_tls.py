"""TLS on the gRPC port: certificates are replaced while it serves, and unknown clients are refused."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest

from devcluster.pki import CertificateAuthority
from somabrain_client import MemoryClient, RetryPolicy, Tls
from somabrain_client.errors import UnavailableError
from tests.integration.service.issuer import Issuer, RenewedIssuer, issuer
from tests.integration.service.service_process import ServiceProcess, run, service
from tests.support.waiting import until

ONCE = RetryPolicy(max_attempts=1)
RELOAD_TIMEOUT_S = 10.0


@pytest.fixture(scope="module")
def authority(folder: Path) -> CertificateAuthority:
    """Our authority, with two certificates of the server and one of a client."""
    created = CertificateAuthority.create(folder / "pki")
    for name in ("first", "second"):
        created.issue_server(name, f"/CN={name}", ["IP:127.0.0.1", "DNS:localhost"])
    created.issue_client("client", "/CN=client")
    return created


@pytest.fixture(scope="module")
def strangers(folder: Path) -> CertificateAuthority:
    """Another authority, which has certificates of a client and a server as well."""
    created = CertificateAuthority.create(folder / "strangers")
    created.issue_client("client", "/CN=client")
    created.issue_server("server", "/CN=server", ["IP:127.0.0.1"])
    return created


def install(authority: CertificateAuthority, name: str, directory: Path) -> None:
    """Put a certificate where the server reads it, as a kubelet does: whole files, one after the other."""
    directory.mkdir(exist_ok=True)
    for theirs, ours in ((f"{name}.crt", "tls.crt"), (f"{name}.key", "tls.key"), ("ca.crt", "ca.crt")):
        shutil.copyfile(authority.folder / theirs, directory / "new")
        (directory / "new").rename(directory / ours)


def tls_settings(directory: Path, *, mutual: bool) -> dict[str, object]:
    files: dict[str, object] = {
        "grpc__tls__cert_file": directory / "tls.crt",
        "grpc__tls__key_file": directory / "tls.key",
    }
    return {**files, "grpc__tls__client_ca_file": directory / "ca.crt"} if mutual else files


def ours(authority: CertificateAuthority, *, certificate: bool) -> Tls:
    own = (authority.folder / "client.crt", authority.folder / "client.key") if certificate else (None, None)
    return Tls(authority.certificate, *own)


def served(running: ServiceProcess, authority: CertificateAuthority) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(authority.folder / "client.crt", authority.folder / "client.key")
    context.set_alpn_protocols(["h2"])
    host, port = running.address.split(":")
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        context.wrap_socket(plain, server_hostname=host) as it,
    ):
        shown = it.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def certificate_der(authority: CertificateAuthority, name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert((authority.folder / f"{name}.crt").read_text())


@pytest.fixture
def mutual(
    folder: Path, tmp_path: Path, settings: dict[str, object], authority: CertificateAuthority
) -> Iterator[tuple[ServiceProcess, Path]]:
    """A service that requires client certificates, and the folder it reads its own from."""
    directory = tmp_path / "tls"
    install(authority, "first", directory)
    with service(folder, {**settings, **tls_settings(directory, mutual=True)}) as running:
        running.wait_until_ready()
        yield running, directory


async def test_renewed_certificate_is_served_without_restart(
    mutual: tuple[ServiceProcess, Path], authority: CertificateAuthority, idp: Issuer
) -> None:
    """Open connections continue, and new ones get the new certificate."""
    running, directory = mutual
    assert served(running, authority) == certificate_der(authority, "first")
    client = MemoryClient(running.address, token=idp.token("tls"), tls=ours(authority, certificate=True), retry=ONCE)
    async with client:
        await client.create_namespace("tls")
        install(authority, "second", directory)
        await asyncio.to_thread(
            until,
            lambda: served(running, authority) == certificate_der(authority, "second"),
            "the second is served",
        )
        await client.remember("tls", "over the connection that was there")
        other = MemoryClient(running.address, token=idp.token("tls"), tls=ours(authority, certificate=True), retry=ONCE)
        async with other:
            await other.remember("tls", "over a new one")
        assert client.attempts.unavailable == 0
    metrics = running.get("/metrics")[1]
    assert 'somabrain_tls_reloads_total{outcome="served"}' in metrics
    ends_at = next(line for line in metrics.splitlines() if line.startswith("somabrain_tls_certificate_expiry"))
    assert float(ends_at.split()[1]) > time.time()


@pytest.mark.parametrize("wrong", ["another's key", "no certificate", "gone"])
def test_mismatched_new_certificate_keeps_the_old_one_and_is_logged(
    mutual: tuple[ServiceProcess, Path], authority: CertificateAuthority, wrong: str
) -> None:
    running, directory = mutual
    match wrong:
        case "another's key":
            shutil.copyfile(authority.folder / "second.key", directory / "tls.key")
        case "no certificate":
            (directory / "tls.crt").write_text("-----BEGIN CERTIFICATE-----\n")
        case _:
            (directory / "tls.key").unlink()
    refused = running.wait_for_event("certificate rejected, the current one stays in use")
    assert "grpc.tls." in str(refused["reason"])
    assert served(running, authority) == certificate_der(authority, "first")
    assert 'somabrain_tls_reloads_total{outcome="refused"} 1.0' in running.get("/metrics")[1]
    install(authority, "second", directory)
    second = certificate_der(authority, "second")
    until(lambda: served(running, authority) == second, "the second is served", RELOAD_TIMEOUT_S)


async def test_client_without_trusted_certificate_fails_the_handshake(
    mutual: tuple[ServiceProcess, Path], authority: CertificateAuthority, strangers: CertificateAuthority, idp: Issuer
) -> None:
    """A client without a certificate, with a foreign one, or in plain text reaches no handler with any token."""
    running, _ = mutual
    theirs = Tls(authority.certificate, strangers.folder / "client.crt", strangers.folder / "client.key")
    for tls in (ours(authority, certificate=False), theirs, None):
        async with MemoryClient(running.address, token=idp.token("tls"), tls=tls, retry=ONCE, deadline_s=5) as client:
            with pytest.raises(UnavailableError):
                await client.create_namespace("stranger")
    assert "CreateNamespace" not in running.get("/metrics")[1]
    trusted = ours(authority, certificate=True)
    async with MemoryClient(running.address, token=idp.token("tls"), tls=trusted, retry=ONCE) as client:
        await client.create_namespace("known")
    assert 'grpc_method="CreateNamespace"' in running.get("/metrics")[1]


async def test_renewed_client_ca_is_reloaded(
    mutual: tuple[ServiceProcess, Path], authority: CertificateAuthority, strangers: CertificateAuthority, idp: Issuer
) -> None:
    running, directory = mutual
    shutil.copyfile(strangers.certificate, directory / "ca.crt")

    async def may(tls: Tls) -> bool:
        async with MemoryClient(running.address, token=idp.token("tls-ca"), tls=tls, retry=ONCE) as client:
            try:
                return [namespace async for namespace in client.list_namespaces()] == []
            except UnavailableError:
                return False

    theirs = Tls(authority.certificate, strangers.folder / "client.crt", strangers.folder / "client.key")
    async with asyncio.timeout(RELOAD_TIMEOUT_S):
        while not await may(theirs):  # noqa: ASYNC110 - another process reads the file
            await asyncio.sleep(0.05)
    assert not await may(ours(authority, certificate=True))


async def test_without_client_ca_no_client_certificate_is_required(
    folder: Path,
    tmp_path: Path,
    settings: dict[str, object],
    authority: CertificateAuthority,
    strangers: CertificateAuthority,
    idp: Issuer,
) -> None:
    """Clients, including the command line, need no certificate; one that trusts another authority does not connect."""
    directory = tmp_path / "tls"
    install(authority, "first", directory)
    with service(folder, {**settings, **tls_settings(directory, mutual=False)}) as running:
        running.wait_until_ready()
        token = tmp_path / "token"
        token.write_text(idp.token("one-way"))
        async with MemoryClient(running.address, token=token, tls=ours(authority, certificate=False)) as client:
            await client.create_namespace("tls")
        async with MemoryClient(
            running.address, token=token, tls=ours(strangers, certificate=False), retry=ONCE, deadline_s=5
        ) as client:
            with pytest.raises(UnavailableError):
                await client.create_namespace("untrusting")
        command: list[str | Path] = [
            Path(sys.executable).with_name("somabrain"),
            "--address",
            running.address,
            "--token-file",
            token,
            "--ca-file",
            authority.certificate,
            "namespace",
            "list",
        ]
        done = await asyncio.to_thread(lambda: subprocess.run(command, capture_output=True, timeout=60, check=False))
        assert (done.returncode, done.stdout) == (0, b"namespaces/tls\n"), done.stderr


def test_invalid_certificate_fails_startup_with_a_message(
    tmp_path: Path, settings: dict[str, object], authority: CertificateAuthority
) -> None:
    directory = tmp_path / "tls"
    install(authority, "first", directory)
    shutil.copyfile(authority.folder / "second.key", directory / "tls.key")
    done = run({**settings, **tls_settings(directory, mutual=False)}, "serve")
    assert (done.returncode, "grpc.tls.key_file: is not the key of the certificate" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


async def test_reflection_and_health_are_served_over_tls(
    mutual: tuple[ServiceProcess, Path], authority: CertificateAuthority
) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    running, _ = mutual
    credentials = ours(authority, certificate=True).credentials()
    async with grpc.aio.secure_channel(running.address, credentials) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def issuer_health(running: ServiceProcess) -> tuple[str, dict[str, object]]:
    document = json.loads(running.get("/healthz")[1])
    return document["status"], document["checks"]["issuer"]


async def until_issuer_is(running: ServiceProcess, status: str) -> dict[str, object]:
    await asyncio.to_thread(until, lambda: issuer_health(running)[1]["status"] == status, f"the issuer is {status}")
    return issuer_health(running)[1]


async def test_renewed_issuer_ca_is_reloaded_and_issuer_failure_reported(
    folder: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    """Without a restart; until then it is degraded with the reason, and stays ready for cached callers."""
    renewed = RenewedIssuer(tmp_path)
    with issuer(renewed.tls) as idp:
        own = {"issuer": idp.url, "jwks_url": f"{idp.url}/keys", "jwks_ca_file": renewed.ca_file, "cache_s": 1}
        with service(folder, {**settings, **{f"auth__{name}": value for name, value in own.items()}}) as running:
            running.wait_until_ready()
            async with MemoryClient(running.address, token=idp.token("before")) as client:
                await client.create_namespace("n")
            assert (await until_issuer_is(running, "ok"))["status"] == "ok"
            renewed.certify(renewed.second)
            check = await until_issuer_is(running, "failing")
            assert "certificate verify failed" in str(check["reason"])
            assert issuer_health(running)[0] == "degraded"
            assert running.get("/ready")[0] == running.get("/healthz")[0] == 200
            assert 'somabrain_dependency_up{dependency="issuer"} 0.0' in running.get("/metrics")[1]
            renewed.trust(renewed.first, renewed.second)
            async with MemoryClient(running.address, token=idp.token("after")) as client:
                await client.create_namespace("n")
            await until_issuer_is(running, "ok")
