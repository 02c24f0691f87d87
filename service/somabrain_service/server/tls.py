"""The server's certificate: read from files, validated, and reloaded while it serves, without a restart.

Kubernetes and cert-manager replace the files of a mounted Secret in place. They are read again every second; changed
and valid files are used from the next handshake on, and open connections are not affected. Invalid files are reported
in the log and in a metric, and the current certificate stays in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from common.config.settings import TlsSettings
from common.errors import ConfigurationError
from somabrain_service.metrics import Metrics

RELOAD_INTERVAL_S = 1.0

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Contents of the files at one moment; `client_ca` None: client certificates are not verified."""

    cert: bytes
    key: bytes
    client_ca: bytes | None


class CertificateWatcher:
    """The certificate in use. Reading the files blocks, so it is done only at start and by `watch`."""

    def __init__(self, tls: TlsSettings, metrics: Metrics) -> None:
        """Read the files.

        Raises:
            ConfigurationError: the files are invalid or do not match each other.
        """
        if tls.cert_file is None or tls.key_file is None:
            raise RuntimeError("TLS requires cert_file and key_file")
        self._cert_file, self._key_file, self._client_ca_file = tls.cert_file, tls.key_file, tls.client_ca_file
        self._metrics = metrics
        self._last_rejection: tuple[CertificateFiles | None, str] | None = None
        self._files = self._read_files()
        self._apply(self._files)

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that use the certificate that `watch` loaded last."""
        served = self._configuration

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            # gRPC calls it at each handshake, one at a time, in a separate thread. None: unchanged.
            nonlocal served
            if served is self._configuration:
                return None
            served = self._configuration
            return served

        # The stubs do not declare that None may be returned; gRPC's documentation does.
        fetcher = cast("Callable[[], grpc.ServerCertificateConfiguration]", fetch)
        return grpc.dynamic_ssl_server_credentials(
            served, fetcher, require_client_authentication=self._client_ca_file is not None
        )

    async def watch(self) -> None:
        """Check the files once a second, until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_INTERVAL_S)
            await asyncio.to_thread(self.reload_if_changed)

    def reload_if_changed(self) -> None:
        """Read the files now, and use them if they changed and are valid."""
        files = None
        try:
            files = self._read_files()
            # Read twice, because the files are not replaced atomically.
            if files != self._files and files == self._read_files():
                self._apply(files)
                self._files = files
                self._metrics.tls_reloads.labels("served").inc()
            self._last_rejection = None
        except ConfigurationError as exc:
            if self._last_rejection != (files, exc.message):
                self._last_rejection = files, exc.message
                self._metrics.tls_reloads.labels("refused").inc()
                _log.warning("certificate rejected, the current one stays in use", reason=exc.message)

    def _read_files(self) -> CertificateFiles:
        return CertificateFiles(
            _read_bytes(self._cert_file, "cert_file"),
            _read_bytes(self._key_file, "key_file"),
            None if self._client_ca_file is None else _read_bytes(self._client_ca_file, "client_ca_file"),
        )

    def _apply(self, files: CertificateFiles) -> None:
        not_valid_after = validate_files(files, datetime.now(UTC))
        self._configuration = grpc.ssl_server_certificate_configuration(
            [(files.key, files.cert)], root_certificates=files.client_ca
        )
        self._metrics.tls_certificate_expiry.set(not_valid_after.timestamp())
        _log.info("certificate loaded", ends_at=not_valid_after.isoformat(), mutual=files.client_ca is not None)


def _read_bytes(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"grpc.tls.{setting}: {path} cannot be read: {exc.strerror or exc}.") from exc


def validate_files(files: CertificateFiles, now: datetime) -> datetime:
    """Return the end of the certificate's validity.

    Raises:
        ConfigurationError: a file is not PEM, the key does not match, or the certificate is not valid now.
    """
    certificate = _parse_certificates(files.cert, "cert_file")[0]
    try:
        key = load_pem_private_key(files.key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise ConfigurationError(
            "grpc.tls.key_file: contains no PEM private key without a password; provide one."
        ) from exc
    if key.public_key() != certificate.public_key():
        raise ConfigurationError("grpc.tls.key_file: is not the key of the certificate in cert_file; replace both.")
    not_valid_before, not_valid_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not not_valid_before <= now < not_valid_after:
        raise ConfigurationError(
            f"grpc.tls.cert_file: is valid from {not_valid_before.isoformat()} to {not_valid_after.isoformat()}, "
            f"and now is {now.isoformat(timespec='seconds')}; renew it."
        )
    if files.client_ca is not None:
        _parse_certificates(files.client_ca, "client_ca_file")
    return not_valid_after


def _parse_certificates(pem: bytes, setting: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as exc:
        raise ConfigurationError(f"grpc.tls.{setting}: contains no PEM certificate; provide one.") from exc
