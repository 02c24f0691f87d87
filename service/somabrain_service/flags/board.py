"""The flags that hold, from the keys that are in etcd.

    <prefix>/global/<name>              for every tenant
    <prefix>/tenants/<tenant>/<name>    for one, before the global one

`<tenant>` is the tenant as the callers' tokens name it (the claim at `auth.tenant_claim`), percent-encoded (RFC 3986)
where it holds anything but letters, digits and `-._~`. It is meant under the one issuer that this service believes, so
equal names of two issuers never meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from somabrain_service.domain.names import TenantId
from somabrain_service.flags.registry import NAMES, Flags, Value, read_value, write_value

GLOBAL = "global"
TENANTS = "tenants"


def key_of(prefix: str, name: str, tenant: str | None) -> str:
    """Return the key of a flag; `tenant` None: of all tenants."""
    scope = GLOBAL if tenant is None else f"{TENANTS}/{quote(tenant, safe='')}"
    return f"{prefix}/{scope}/{name}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What keys say. `tenants` are by the name in the key; `problems` are sentences, one a key that says nothing."""

    everywhere: Mapping[str, Value] = field(default_factory=dict)
    tenants: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    good: Mapping[str, Value] = field(default_factory=dict)
    """By key: the last value that could be read."""


def read_keys(prefix: str, values: Mapping[str, str], before: Reading) -> Reading:
    """Read keys; one whose value is none keeps what it said `before`, and is named."""
    everywhere: dict[str, Value] = {}
    tenants: dict[str, dict[str, Value]] = {}
    good: dict[str, Value] = {}
    problems = []
    for key, text in sorted(values.items()):
        match key.removeprefix(f"{prefix}/").split("/"):
            case ["global", name]:
                scope = everywhere
            case ["tenants", tenant, name] if tenant:
                scope = tenants.setdefault(unquote(tenant), {})
            case _:
                problems.append(f"{key}: is no key of a flag.")
                continue
        if name not in NAMES:
            problems.append(f"{key}: there is no flag {name}.")
            continue
        try:
            scope[name] = good[key] = read_value(name, text)
        except ValueError as exc:
            holds = "it is passed over"
            if key in before.good:
                scope[name] = good[key] = before.good[key]
                holds = f"{write_value(before.good[key])}, its last good value, holds"
            problems.append(f"{key}: {exc}; {holds}.")
    return Reading(everywhere, tenants, tuple(problems), good)


class FlagBoard:
    """The flags that hold now. `on_change` is told what was read, each time that it is read."""

    def __init__(
        self,
        prefix: str,
        defaults: Flags,
        tenant_id: Callable[[str], TenantId],
        on_change: Callable[[Reading, Reading], None] = lambda before, now: None,
    ) -> None:
        self._prefix = prefix
        self._defaults = self._everywhere = defaults
        self._tenant_id = tenant_id
        self._on_change = on_change
        self._tenants: dict[TenantId, Flags] = {}
        self.reading = Reading()

    def of(self, tenant: TenantId) -> Flags:
        """See `FlagSource.of`."""
        return self._tenants.get(tenant, self._everywhere)

    def become(self, values: Mapping[str, str]) -> None:
        """Take over what the keys say now."""
        before, now = self.reading, read_keys(self._prefix, values, self.reading)
        self.reading = now
        self._everywhere = self._defaults.model_copy(update=dict(now.everywhere))
        self._tenants = {
            self._tenant_id(tenant): self._everywhere.model_copy(update=dict(chosen))
            for tenant, chosen in now.tenants.items()
        }
        self._on_change(before, now)
