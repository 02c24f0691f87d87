"""etcd over its JSON gateway (etcd v3.4 and later: https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/).

Flags need three requests and a stream. The Python packages for etcd's own gRPC either do not import under the current
protobuf (etcd3), end their watches when the server restarts (aetcd), or have one author and one release (etcd3aio);
the gateway is part of every etcd, and aiohttp is a dependency anyway.

`PrefixWatcher` mirrors the keys under a prefix: it lists them, then watches from the list's revision. Every
`RESYNC_PERIOD_S` it ends the watch and lists again, so a silently dead connection is noticed; so are a compaction and
a restart, because a list needs no history. While etcd is unavailable the last known values stay in effect.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any, TypeVar, cast

import aiohttp
import structlog

from common.aio.backoff import Backoff
from common.config.settings import FlagSettings
from common.errors import Unavailable
from common.health import HealthCheck
from common.json_document import parse_json
from common.net.http_client import read_json
from common.net.tls import ClientTls

RESYNC_PERIOD_S = 10.0
BACKOFF = Backoff(initial_s=0.2, cap_s=1.0)
"""Back-off after watches in a row that ended at once."""
MAX_REPORTED_FAILURES = 3
MAX_LINE_BYTES = 8 * 1024 * 1024
TOKEN_REFUSED = frozenset({3, 16})
"""gRPC status codes in the gateway's errors that another token may mend: UNAUTHENTICATED for an unknown or expired
token, INVALID_ARGUMENT for one that was issued before users or roles were changed ("revision of auth store is old",
with `--auth-token=jwt`) and for a request without a token."""
AUTH_NOT_ENABLED = "authentication is not enabled"
"""Message of the error of a login while etcd's authentication is off (FAILED_PRECONDITION)."""

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")
GatewayResponse = dict[str, Any]
"""JSON response of the gateway: keys and values in base64, 64-bit numbers as strings, zero values omitted."""


class EtcdUnavailable(Unavailable):
    """No member of etcd answers, or those that answer return errors."""

    reason = "ETCD_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class RangeResult:
    """All keys under a prefix, with their values, as of a revision."""

    values: Mapping[str, str]
    revision: int


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key's new value; None: it was deleted."""

    key: str
    value: str | None


class EtcdClient:
    """Client that tries the members in turn, starting with the last that answered.

    An async context manager: it owns the connections. The files for TLS are read again when they change.
    """

    def __init__(self, settings: FlagSettings, current: Callable[[], FlagSettings] | None = None) -> None:
        """Prepare the requests.

        Args:
            settings: the settings.
            current: returns the settings as they are now, for a user or password that was rotated; None: it never is.

        Raises:
            ConfigurationError: a file for TLS cannot be read.
        """
        self._settings = settings
        self._current = current or (lambda: settings)
        self._tls = ClientTls("flags.", settings.ca_file, settings.cert_file, settings.key_file)
        self._credentials: dict[str, str] = {}
        self._endpoints = [endpoint.rstrip("/") for endpoint in settings.endpoints]
        self._token: str | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> EtcdClient:
        # One request every ten seconds: a new connection for each costs little, and is never a dead one.
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def get_prefix(self, prefix: str) -> RangeResult:
        """Return all keys under a prefix, by a linearizable read.

        Raises:
            EtcdUnavailable: no member answers.
        """
        return await self._request("/v3/kv/range", _range(prefix), _range_result)

    async def get(self, key: str) -> str | None:
        """Return a key's value; None: the key does not exist.

        Raises:
            EtcdUnavailable: no member answers.
        """
        return await self._request("/v3/kv/range", {"key": _encode(key)}, partial(_first_value, name="kvs"))

    async def put(self, key: str, value: str) -> str | None:
        """Set a key and return its previous value; None: the key did not exist.

        Raises:
            EtcdUnavailable: no member answers; the key may be set nevertheless.
        """
        body = {"key": _encode(key), "value": _encode(value), "prev_kv": True}
        return await self._request("/v3/kv/put", body, _previous_value)

    async def delete(self, key: str) -> str | None:
        """Delete a key and return its previous value; None: the key did not exist.

        Raises:
            EtcdUnavailable: no member answers; the key may be deleted nevertheless.
        """
        body = {"key": _encode(key), "prev_kv": True}
        return await self._request("/v3/kv/deleterange", body, partial(_first_value, name="prev_kvs"))

    async def watch(self, prefix: str, revision: int) -> AsyncGenerator[list[KeyChange], None]:
        """Yield the changes under a prefix from `revision` on, until the member ends the watch: then list again.

        Raises:
            EtcdUnavailable: the member does not answer.
        """
        request = {"create_request": {**_range(prefix), "start_revision": str(revision)}}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._settings.timeout_s)
        try:
            url = f"{self._endpoints[0]}/v3/watch"
            async with self._session.post(
                url, json=request, headers=self._headers(), timeout=timeout, ssl=self._tls.for_url(url)
            ) as response:
                await _raise_for_status(response)
                async with aclosing(_json_lines(response)) as lines:
                    async for line in lines:
                        changes = _parsed(_changes, line)
                        if changes is None:
                            return
                        if changes:
                            yield changes
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, _GatewayError) as exc:
            raise EtcdUnavailable(f"etcd at {self._endpoints[0]} does not answer: {_describe(exc)}.") from exc

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("EtcdClient is used outside its context")
        return self._http

    def _headers(self) -> dict[str, str]:
        return {} if self._token is None else {"Authorization": self._token}

    async def _request(self, path: str, body: Mapping[str, object], parse: Callable[[GatewayResponse], T]) -> T:
        """Send the request to each member once, starting with the last that answered, until one answers validly."""
        failures = []
        for _ in range(len(self._endpoints)):
            try:
                return _parsed(parse, await self._request_member(path, body))
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, _GatewayError) as exc:
                failures.append((exc, f"{self._endpoints[0]}: {_describe(exc)}"))
                self._endpoints.append(self._endpoints.pop(0))
        reasons = "; ".join(reason for _, reason in failures[:MAX_REPORTED_FAILURES])
        raise EtcdUnavailable(f"etcd does not answer ({reasons}).") from failures[-1][0]

    async def _request_member(self, path: str, body: Mapping[str, object]) -> GatewayResponse:
        credentials = _credentials(self._current())
        if credentials and (self._token is None or credentials != self._credentials):
            await self._authenticate(credentials)
        try:
            return await self._post(path, body)
        except _GatewayError as exc:
            if exc.code not in TOKEN_REFUSED or not credentials:
                raise
        # The token expired, users or roles were changed, or the member was restarted and does not know earlier tokens.
        await self._authenticate(credentials)
        return await self._post(path, body)

    async def _authenticate(self, credentials: dict[str, str]) -> None:
        self._token = None
        try:
            token = _parsed(_token, await self._post("/v3/auth/authenticate", credentials))
        except _GatewayError as exc:
            if AUTH_NOT_ENABLED in str(exc):
                return  # requests need no token until it is
            raise
        self._token, self._credentials = token, credentials

    async def _post(self, path: str, body: Mapping[str, object]) -> GatewayResponse:
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        url = f"{self._endpoints[0]}{path}"
        async with self._session.post(
            url, json=body, headers=self._headers(), timeout=timeout, ssl=self._tls.for_url(url)
        ) as response:
            await _raise_for_status(response)
            return cast("GatewayResponse", await read_json(response))


class PrefixWatcher:
    """Mirror of the keys under a prefix; `on_change` receives all of them, with their values, after each change."""

    def __init__(
        self,
        client: EtcdClient,
        prefix: str,
        on_change: Callable[[Mapping[str, str]], None],
        *,
        resync_period_s: float = RESYNC_PERIOD_S,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._on_change = on_change
        self._resync_period_s = resync_period_s
        self._values: dict[str, str] | None = None
        self.check = HealthCheck(False, "etcd has not been queried yet.")
        """Last health check of etcd."""

    async def run(self) -> None:
        """List and watch, until cancelled."""
        short_watches = 0
        while True:
            started = time.monotonic()
            revision = await self.relist()
            if revision is not None:
                await self._watch(revision + 1)
            # Back off when a member ends each watch at once, but briefly, so that a recovered member is soon noticed.
            short_watches = 0 if time.monotonic() - started > BACKOFF.cap_s else short_watches + 1
            fraction = secrets.randbelow(1000) / 1000
            await asyncio.sleep(BACKOFF.delay_s(short_watches, fraction) if short_watches else 0)

    async def relist(self) -> int | None:
        """List all keys now and return the revision; None: etcd is unavailable, and the last known values stay."""
        started = time.monotonic()
        try:
            result = await self._client.get_prefix(self._prefix)
        except EtcdUnavailable as exc:
            self._mark_unavailable(exc)
            return None
        if not self.check.ok:
            _log.info("etcd available", keys=len(result.values))
        self.check = HealthCheck(True, "etcd answers, and its keys are watched.", time.monotonic() - started)
        self._apply(dict(result.values))
        return result.revision

    async def _watch(self, revision: int) -> None:
        """Watch until the resync period is over or the watch ends by itself."""
        try:
            async with (
                asyncio.timeout(self._resync_period_s),
                aclosing(self._client.watch(self._prefix, revision)) as batches,
            ):
                async for changes in batches:
                    values = dict(self._values or {})
                    for change in changes:
                        if change.value is None:
                            values.pop(change.key, None)
                        else:
                            values[change.key] = change.value
                    self._apply(values)
        except (TimeoutError, EtcdUnavailable):
            return  # the next list reports it

    def _apply(self, values: dict[str, str]) -> None:
        if values != self._values:
            self._values = values
            self._on_change(values)

    def _mark_unavailable(self, exc: EtcdUnavailable) -> None:
        fallback = (
            "the defaults are in effect, because it was never read"
            if self._values is None
            else "the last known values stay in effect"
        )
        check = HealthCheck(False, f"{exc.message.removesuffix('.')}; {fallback}.")
        if self.check.ok or self.check.reason != check.reason:
            _log.warning("etcd unavailable", reason=check.reason)
        self.check = check


class _GatewayError(Exception):
    """A member returned an error; `code` is its gRPC status code, or -1."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _credentials(settings: FlagSettings) -> dict[str, str]:
    """Return the body of a login; empty: requests are not authenticated."""
    if settings.username is None:
        return {}
    return {"name": settings.username, "password": settings.password.get_secret_value() if settings.password else ""}


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status == HTTPStatus.OK:
        return
    try:
        document = cast("GatewayResponse", await read_json(response))
        error = _GatewayError(int(document["code"]), str(document.get("message") or document.get("error")))
    except (ValueError, KeyError, TypeError, AttributeError):
        error = _GatewayError(-1, f"HTTP status {response.status}")
    raise error


async def _json_lines(response: aiohttp.ClientResponse) -> AsyncGenerator[GatewayResponse, None]:
    """Yield each line of the stream as JSON."""
    remainder = b""
    async for chunk in response.content.iter_any():
        *lines, remainder = (remainder + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield parse_json(line)
        if len(remainder) > MAX_LINE_BYTES:
            raise ValueError(f"a line of the watch stream is longer than {MAX_LINE_BYTES} bytes")


def _parsed(parse: Callable[[GatewayResponse], T], response: GatewayResponse) -> T:
    """Return what `parse` reads from a response.

    Raises:
        ValueError: the response is not one of etcd's: another server listens there, or something in between answered.
    """
    try:
        return parse(response)
    except (LookupError, TypeError, AttributeError, ValueError) as exc:
        raise ValueError("it gave a response that is not etcd's; check flags.endpoints") from exc


def _range_result(response: GatewayResponse) -> RangeResult:
    values = {_decode(pair["key"]): _decode(pair.get("value", "")) for pair in response.get("kvs", ())}
    return RangeResult(values, _revision(response))


def _revision(response: GatewayResponse) -> int:
    """Return the revision, which every response has; without the check any server's `{}` would say "no such key"."""
    return int(response["header"]["revision"])


def _first_value(response: GatewayResponse, name: str) -> str | None:
    _revision(response)
    return next((_decode(pair.get("value", "")) for pair in response.get(name, ())), None)


def _previous_value(response: GatewayResponse) -> str | None:
    _revision(response)
    return _decode(response["prev_kv"].get("value", "")) if "prev_kv" in response else None


def _token(response: GatewayResponse) -> str:
    return str(response["token"])


def _changes(line: GatewayResponse) -> list[KeyChange] | None:
    """Return the changes in a line of a watch; None: the member ended the watch.

    The revision was compacted, or the token is no longer known: the next list shows which.
    """
    result = line.get("result", {})
    if "error" in line or result.get("canceled"):
        return None
    return [_change(event) for event in result.get("events", ())]


def _range(prefix: str) -> dict[str, str]:
    """Return the range of all keys that start with `prefix`; `range_end` is exclusive."""
    start = prefix.encode()
    return {
        "key": base64.b64encode(start).decode(),
        "range_end": base64.b64encode(start[:-1] + bytes([start[-1] + 1])).decode(),
    }


def _change(event: GatewayResponse) -> KeyChange:
    deleted = event.get("type") == "DELETE"
    return KeyChange(_decode(event["kv"]["key"]), None if deleted else _decode(event["kv"].get("value", "")))


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decode(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")


def _describe(exc: BaseException) -> str:
    """Return the text of an error, for use in a sentence."""
    return str(exc) or ("no answer in time" if isinstance(exc, TimeoutError) else type(exc).__name__)
