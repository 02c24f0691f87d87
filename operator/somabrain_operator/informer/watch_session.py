"""HTTP session of kopf's lists and watches, in which a refused one waits and does not end the process.

kopf ends when one watch is answered with 404 or 403. But a namespace may be deleted, or a CustomResourceDefinition may
be replaced, while the operator runs, and one namespace of many must not stop the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import aiohttp
import kopf
import structlog

from somabrain_operator.kube import names
from somabrain_operator.kube.kinds import ALL_NAMESPACES, BRAIN, LEASE, WATCHED, Kind

RETRY_S: Final = 1.0
"""Seconds between attempts of a list or watch that was refused."""
CRD_MISSING: Final = (
    f"The API server does not serve {names.PLURAL}.{names.GROUP}; install the chart somabrain-operator "
    "with crd.install=true, or apply crds/."
)
_REFUSED: Final = (403, 404)
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Collection:
    """Objects of a kind in a namespace, which one watch covers."""

    kind: Kind
    namespace: str

    def refusal(self, status: int) -> str:
        """Return why it cannot be watched, as a sentence with the remedy."""
        if status == 404:
            return CRD_MISSING if self.kind is BRAIN else f"The API server no longer serves {self.kind.plural}."
        if self.namespace == ALL_NAMESPACES:
            return f"The operator has no permission to watch {self.kind.plural}: bind the ClusterRole of its chart."
        return (
            f"The operator has no permission to watch {self.kind.plural} in namespace {self.namespace}: if the "
            "namespace was deleted, create it again and run helm upgrade, or remove it from watchNamespaces."
        )


class WatchSessions:
    """Maker of kopf's HTTP session, and the record of the watches that the API server refuses."""

    def __init__(self, namespaces: Collection[str], lease_namespace: str) -> None:
        """Start without refusals.

        Args:
            namespaces: Kubernetes namespaces whose SomaBrains are reconciled; empty: all.
            lease_namespace: Kubernetes namespace of the Lease; in it, nothing else is watched unless it is one of them.
        """
        watched = {*namespaces} or {ALL_NAMESPACES}
        lease_namespaces = {lease_namespace} if namespaces else watched
        self._required = dict(_collections((BRAIN, *WATCHED.values()), watched)) | dict(
            _collections((LEASE,), lease_namespaces)
        )
        all_pairs = _collections((BRAIN, LEASE, *WATCHED.values()), watched | lease_namespaces)
        self._redundant = {path for path, _ in all_pairs} - set(self._required)
        self._refusals: dict[str, str] = {}

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces that kopf must watch; empty: all."""
        return tuple(sorted({each.namespace for each in self._required.values()} - {ALL_NAMESPACES}))

    def refusals(self) -> tuple[str, ...]:
        """Return why some lists or watches are refused, as sentences."""
        return tuple(sorted(set(self._refusals.values())))

    def all_brains_refused(self) -> bool:
        """Return whether SomaBrains can be watched in no namespace."""
        return all(path in self._refusals for path, each in self._required.items() if each.kind is BRAIN)

    def open(self, info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
        """Return a session for kopf, which closes it."""
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),  # each watch has a connection
            headers=info.as_http_headers(),
            proxy=info.proxy_url,
            trust_env=info.trust_env,
            middlewares=(self._wait_while_refused,),
        )
        return kopf.AiohttpSession(
            server=info.server, default_namespace=info.default_namespace, aiohttp_session=session
        )

    async def _wait_while_refused(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send a request of kopf again until it is not refused; its own time-out makes kopf begin once more."""
        path = request.url.path
        if path in self._redundant:
            # kopf watches every kind in every namespace. A cancelled watcher ends, and the others continue.
            raise asyncio.CancelledError
        while True:
            response = await handler(request)
            collection = self._required.get(path)
            if collection is None or response.status not in _REFUSED:
                if self._refusals.pop(path, None):
                    _log.info("watch is permitted again", path=path)
                return response
            response.release()
            refusal = collection.refusal(response.status)
            if self._refusals.get(path) != refusal:
                self._refusals[path] = refusal
                _log.warning("watch was refused; waiting", path=path, reason=refusal)
            await asyncio.sleep(RETRY_S)


def _collections(kinds: Collection[Kind], namespaces: Collection[str]) -> Iterator[tuple[str, _Collection]]:
    """Yield each pair of a kind and a namespace by its URL path."""
    for kind in kinds:
        for namespace in namespaces:
            yield kind.path(namespace), _Collection(kind, namespace)
