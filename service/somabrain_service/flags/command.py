"""`somabrain-service flags`: list all flags, set one, clear one. A change always reports the previous value."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import textwrap
from collections.abc import Callable

from common.config.settings import Settings
from common.errors import ConfigurationError, SomaBrainError
from somabrain_service.flags.registry import (
    FLAG_NAMES,
    QUOTA_FLAGS,
    Flags,
    FlagValue,
    default_flags,
    format_value,
    parse_value,
)
from somabrain_service.flags.store import FlagSnapshot, flag_key, parse_keys

Report = Callable[[str], None]
LINE_WIDTH = 112


class InvalidFlag(SomaBrainError):
    """The flag is unknown or its value is invalid; the message names the valid ones."""

    reason = "FLAG_MISTAKE"


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `flags` to the commands."""
    parser = commands.add_parser("flags", help="list and change flags while the service runs")
    actions = parser.add_subparsers(dest="action", required=True)
    tenant_option = argparse.ArgumentParser(add_help=False)
    tenant_option.add_argument(
        "--tenant",
        help="one tenant, as named in its bearer tokens (the claim at auth.tenant_claim); default: all tenants",
    )
    actions.add_parser("list", parents=[tenant_option], help="list every flag with its value, source and effect")
    set_parser = actions.add_parser("set", parents=[tenant_option], help="set a flag, for all tenants or for one")
    set_parser.add_argument("name")
    set_parser.add_argument("value")
    clear_parser = actions.add_parser("clear", parents=[tenant_option], help="unset a flag")
    clear_parser.add_argument("name")


def run(options: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Run the action given on the command line.

    Raises:
        ConfigurationError: no etcd is configured.
        InvalidFlag: the flag is unknown, or the value is invalid.
        EtcdUnavailable: etcd does not answer.
    """
    if options.tenant == "":
        raise InvalidFlag("--tenant: must not be empty; leave it out for all tenants.")
    if options.action == "list":
        asyncio.run(_list(settings, options.tenant, report))
        return
    check_name(options.name)
    value = None
    if options.action == "set":
        try:
            value = parse_value(options.name, options.value)
        except ValueError as exc:
            raise InvalidFlag(f"{options.name}: {exc}, not {options.value!r}.") from None
    asyncio.run(_change(settings, options.tenant, options.name, value, report))


def check_name(name: str) -> None:
    """Reject the name of an unknown flag.

    Raises:
        InvalidFlag: the message suggests the closest name and lists all.
    """
    if name in FLAG_NAMES:
        return
    close_matches = difflib.get_close_matches(name, FLAG_NAMES, 1)
    suggestion = f" Did you mean {close_matches[0]}?" if close_matches else ""
    raise InvalidFlag(f"Unknown flag {name}.{suggestion} Known flags: {', '.join(FLAG_NAMES)}.")


async def _list(settings: Settings, tenant: str | None, report: Report) -> None:
    prefix = settings.flags.prefix
    values: dict[str, str] = {}
    if settings.flags.endpoints:
        from common.utils.etcd_client import EtcdClient

        async with EtcdClient(settings.flags) as client:
            values = dict((await client.get_prefix(f"{prefix}/")).values)
    else:
        report("No etcd is configured (SOMABRAIN_FLAGS__ENDPOINTS): every flag has its default, and none can be set.")
    snapshot = parse_keys(prefix, values, FlagSnapshot())
    rows = [("FLAG", "VALUE", "SOURCE", "WHAT IT DOES")]
    for name in FLAG_NAMES:
        value, source = _effective_value(name, tenant, snapshot, settings)
        rows.append((name, format_value(value), source, Flags.model_fields[name].description or ""))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        lines = textwrap.wrap(row[3], max(40, LINE_WIDTH - sum(widths) - 6)) or [""]
        report("  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), lines[0]]))
        for line in lines[1:]:
            report(" " * (sum(widths) + 6) + line)
    if tenant is None:
        for tenant_name, overrides in sorted(snapshot.tenants.items()):
            for name, value in sorted(overrides.items()):
                report(f"only for the tenant {tenant_name}: {name} {format_value(value)}")
    for problem in snapshot.problems:
        report(f"ignored in etcd: {problem}")


def _effective_value(
    name: str, tenant: str | None, snapshot: FlagSnapshot, settings: Settings
) -> tuple[FlagValue, str]:
    """Return the value in effect for a tenant, or for all tenants if None, and its source."""
    if tenant is not None and name in snapshot.tenants.get(tenant, {}):
        return snapshot.tenants[tenant][name], "tenant"
    if name in snapshot.global_values:
        return snapshot.global_values[name], "global"
    value: FlagValue = getattr(default_flags(settings.quota), name)
    return value, "settings" if name in QUOTA_FLAGS and name in settings.quota.model_fields_set else "default"


async def _change(settings: Settings, tenant: str | None, name: str, value: FlagValue | None, report: Report) -> None:
    if not settings.flags.endpoints:
        raise ConfigurationError(
            "flags.endpoints: is empty, so there is no etcd to store a flag in; set SOMABRAIN_FLAGS__ENDPOINTS."
        )
    key = flag_key(settings.flags.prefix, name, tenant)
    scope = "all tenants" if tenant is None else f"the tenant {tenant}"
    from common.utils.etcd_client import EtcdClient

    async with EtcdClient(settings.flags) as client:
        if value is None:
            previous = await client.delete(key)
        else:
            previous = await client.put(key, format_value(value))
        snapshot = parse_keys(
            settings.flags.prefix, (await client.get_prefix(f"{settings.flags.prefix}/")).values, FlagSnapshot()
        )
    effective, source = _effective_value(name, tenant, snapshot, settings)
    report(
        f"{name} for {scope}: was {'not set' if previous is None else previous}, "
        f"is {format_value(effective)} ({source})"
    )
