"""The flags in effect, from the keys in etcd.

    <prefix>/global/<name>              for every tenant
    <prefix>/tenants/<tenant>/<name>    for one tenant, overrides the global one

`<tenant>` is the tenant as in the callers' bearer tokens (the claim at `auth.tenant_claim`), percent-encoded (RFC 3986)
except for letters, digits and `-._~`. It belongs to the one issuer that this service trusts, so equal names of two
issuers are never confused.
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
    """Return the key of a flag; `tenant` None: for all tenants."""
    scope = GLOBAL if tenant is None else f"{TENANTS}/{quote(tenant, safe='')}"
    return f"{prefix}/{scope}/{name}"


@dataclass(frozen=True, slots=True)
class FlagSnapshot:
    """Parsed keys. `tenants` is keyed by the tenant's name; `problems` has one sentence per invalid key."""

    global_values: Mapping[str, FlagValue] = field(default_factory=dict)
    tenants: Mapping[str, Mapping[str, FlagValue]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    last_valid: Mapping[str, FlagValue] = field(default_factory=dict)
    """Last valid value of each key."""


def parse_keys(prefix: str, values: Mapping[str, str], previous: FlagSnapshot) -> FlagSnapshot:
    """Parse keys; an invalid value is reported as a problem and replaced by the key's last valid one in `previous`."""
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
                problems.append(f"{key}: is not the key of a flag.")
                continue
        if name not in FLAG_NAMES:
            problems.append(f"{key}: unknown flag {name}.")
            continue
        try:
            scope[name] = last_valid[key] = parse_value(name, text)
        except ValueError as exc:
            effect = "it is ignored"
            if key in previous.last_valid:
                scope[name] = last_valid[key] = previous.last_valid[key]
                effect = f"{format_value(previous.last_valid[key])}, its last valid value, is used"
            problems.append(f"{key}: {exc}; {effect}.")
    return FlagSnapshot(global_values, tenants, tuple(problems), last_valid)


class FlagStore:
    """Flags in effect now. `on_change` receives the previous and the new snapshot after each read."""

    def __init__(
        self,
        prefix: str,
        defaults: Flags,
        tenant_id: Callable[[str], TenantId],
        on_change: Callable[[FlagSnapshot, FlagSnapshot], None] = lambda previous, current: None,
    ) -> None:
        self._prefix = prefix
        self._defaults = self._global_flags = defaults
        self._tenant_id = tenant_id
        self._on_change = on_change
        self._tenant_flags: dict[TenantId, Flags] = {}
        self.snapshot = FlagSnapshot()

    def for_tenant(self, tenant: TenantId) -> Flags:
        """Return the flags in effect for a tenant now."""
        return self._tenant_flags.get(tenant, self._global_flags)

    def apply(self, values: Mapping[str, str]) -> None:
        """Apply the current keys and values."""
        previous, current = self.snapshot, parse_keys(self._prefix, values, self.snapshot)
        self.snapshot = current
        self._global_flags = self._defaults.model_copy(update=dict(current.global_values))
        self._tenant_flags = {
            self._tenant_id(tenant): self._global_flags.model_copy(update=dict(overrides))
            for tenant, overrides in current.tenants.items()
        }
        self._on_change(previous, current)
