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
from somabrain_service.flags.registry import FLAG_NAMES, Flags, FlagValue, format_value, parse_value

GLOBAL = "global"
TENANTS = "tenants"


def flag_key(prefix: str, name: str, tenant: str | None) -> str:
    """Return the key of a flag; `tenant` None: of all tenants."""
    scope = GLOBAL if tenant is None else f"{TENANTS}/{quote(tenant, safe='')}"
    return f"{prefix}/{scope}/{name}"


@dataclass(frozen=True, slots=True)
class FlagSnapshot:
    """What keys say. `tenants` are by the name in the key; `problems` are sentences, one a key that says nothing."""

    global_values: Mapping[str, FlagValue] = field(default_factory=dict)
    tenants: Mapping[str, Mapping[str, FlagValue]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    last_valid: Mapping[str, FlagValue] = field(default_factory=dict)
    """By key: the last value that could be read."""


def parse_keys(prefix: str, values: Mapping[str, str], previous: FlagSnapshot) -> FlagSnapshot:
    """Read keys; one whose value is none keeps what it said `before`, and is named."""
    global_values: dict[str, FlagValue] = {}
    tenants: dict[str, dict[str, FlagValue]] = {}
    last_valid: dict[str, FlagValue] = {}
    problems = []
    for key, text in sorted(values.items()):
        match key.removeprefix(f"{prefix}/").split("/"):
            case ["global", name]:
                scope = global_values
            case ["tenants", tenant, name] if tenant:
                scope = tenants.setdefault(unquote(tenant), {})
            case _:
                problems.append(f"{key}: is no key of a flag.")
                continue
        if name not in FLAG_NAMES:
            problems.append(f"{key}: there is no flag {name}.")
            continue
        try:
            scope[name] = last_valid[key] = parse_value(name, text)
        except ValueError as exc:
            effect = "it is passed over"
            if key in previous.last_valid:
                scope[name] = last_valid[key] = previous.last_valid[key]
                effect = f"{format_value(previous.last_valid[key])}, its last good value, holds"
            problems.append(f"{key}: {exc}; {effect}.")
    return FlagSnapshot(global_values, tenants, tuple(problems), last_valid)


class FlagStore:
    """The flags that hold now. `on_change` is told what was read, each time that it is read."""

    def __init__(
        self,
        prefix: str,
        defaults: Flags,
        tenant_id: Callable[[str], TenantId],
        on_change: Callable[[FlagSnapshot, FlagSnapshot], None] = lambda before, now: None,
    ) -> None:
        self._prefix = prefix
        self._defaults = self._global_flags = defaults
        self._tenant_id = tenant_id
        self._on_change = on_change
        self._tenant_flags: dict[TenantId, Flags] = {}
        self.snapshot = FlagSnapshot()

    def for_tenant(self, tenant: TenantId) -> Flags:
        """See `FlagSource.of`."""
        return self._tenant_flags.get(tenant, self._global_flags)

    def apply(self, values: Mapping[str, str]) -> None:
        """Take over what the keys say now."""
        previous, current = self.snapshot, parse_keys(self._prefix, values, self.snapshot)
        self.snapshot = current
        self._global_flags = self._defaults.model_copy(update=dict(current.global_values))
        self._tenant_flags = {
            self._tenant_id(tenant): self._global_flags.model_copy(update=dict(overrides))
            for tenant, overrides in current.tenants.items()
        }
        self._on_change(previous, current)
