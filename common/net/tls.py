"""TLS contexts of clients: trusted authorities and client certificates, which follow their files.

Certificates and authorities are renewed on disk while the process runs: kubelet and cert-manager replace the files of a
mounted ConfigMap or Secret. A context is therefore requested before each use, and built again when a file changed.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

import structlog

from common.errors import ConfigurationError

_log = structlog.stdlib.get_logger(__name__)

FileSignature = tuple[tuple[int, int, int] | None, ...]


def file_signature(paths: Iterable[Path | str | None]) -> FileSignature:
    """Return what differs as soon as one of the files is replaced or rewritten; a missing file counts as such."""
    return tuple(_stat_signature(path) for path in paths if path is not None)


def _stat_signature(path: Path | str) -> tuple[int, int, int] | None:
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


class ClientTls:
    """Authorities and client certificate of connections to other servers, read again when their files changed.

    New files that are invalid are reported in the log, and the current context stays in use.
    """

    def __init__(
        self, setting: str, ca_file: Path | None, cert_file: Path | None = None, key_file: Path | None = None
    ) -> None:
        """Read the files, if any are set.

        Args:
            setting: prefix of the settings' names, for errors: the authorities are `<setting>ca_file`.
            ca_file: PEM bundle that signs the server's certificate; None: the system's, which is read on first use.
            cert_file: PEM client certificate; None: no client certificate.
            key_file: PEM key of `cert_file`; None: the key is in `cert_file`.

        Raises:
            ConfigurationError: a file cannot be read as PEM, or the key does not belong to the certificate.
        """
        self._setting = setting
        self._ca_file, self._cert_file, self._key_file = ca_file, cert_file, key_file
        self._signature: FileSignature = ()
        self._context: ssl.SSLContext | None = None
        if ca_file is not None or cert_file is not None:
            self.context()

    def context(self) -> ssl.SSLContext:
        """Return the context of the files as they are now: the same object as long as they do not change."""
        paths = [*([self._ca_file] if self._ca_file else _system_ca_paths()), self._cert_file, self._key_file]
        # Taken before the files are read: a change in between is noticed by the next call.
        signature = file_signature(paths)
        if self._context is not None and signature == self._signature:
            return self._context
        try:
            context = _load_context(self._setting, self._ca_file, self._cert_file, self._key_file)
        except ConfigurationError as exc:
            if self._context is None:
                raise
            self._signature = signature
            _log.warning("TLS files rejected, the former ones stay in use", reason=exc.message)
            return self._context
        if self._context is not None:
            _log.info("TLS files loaded again", setting=f"{self._setting}ca_file")
        self._signature, self._context = signature, context
        return context

    def for_url(self, url: str) -> ssl.SSLContext | bool:
        """Return the argument `ssl` of an aiohttp request to `url`: a changed context gets new connections."""
        return self.context() if url.startswith("https://") else True


def _system_ca_paths() -> list[str]:
    paths = ssl.get_default_verify_paths()
    return [path for path in (paths.cafile, paths.capath) if path is not None]


def _load_context(setting: str, ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies the server's name and certificate, with a client certificate if one is set."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        message = f"{setting}ca_file: {ca_file} cannot be read as a PEM bundle; set another file, or unset it."
        raise ConfigurationError(message) from exc
    if cert_file is None:
        return context
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"{setting}cert_file: {cert_file} and {setting}key_file do not contain a PEM certificate and its key; "
            "set both, or unset them."
        ) from exc
    return context
