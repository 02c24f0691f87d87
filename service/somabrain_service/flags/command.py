"""`somabrain-service flags`: list all flags, set one, clear one. What it was before is always said."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import textwrap
from collections.abc import Callable

from common.config.settings import Settings
from common.errors import ConfigurationError, SomaBrainError
from common.utils.etcd_client import EtcdClient
from somabrain_service.flags.board import Reading, key_of, read_keys
from somabrain_service.flags.registry import LIMITS, NAMES, Flags, Value, defaults, read_value, write_value

Say = Callable[[str], None]
WIDTH = 112


class FlagMistake(SomaBrainError):
    """What was asked cannot be; the message says what can."""

    reason = "FLAG_MISTAKE"


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `flags` to the commands."""
    parser = commands.add_parser("flags", help="see and change what may be switched while the service runs")
    actions = parser.add_subparsers(dest="action", required=True)
    scope = argparse.ArgumentParser(add_help=False)
    scope.add_argument(
        "--tenant", help="of one tenant, named as its tokens name it (the claim at auth.tenant_claim); left out: of all"
    )
    actions.add_parser("list", parents=[scope], help="every flag: value, source and what it does")
    setting = actions.add_parser("set", parents=[scope], help="set a flag, for all tenants or for one")
    setting.add_argument("name")
    setting.add_argument("value")
    clearing = actions.add_parser("clear", parents=[scope], help="take back what was set")
    clearing.add_argument("name")


def run(options: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Do what was asked.

    Raises:
        ConfigurationError: no etcd is configured.
        FlagMistake: there is no such flag, or it cannot have that value.
        EtcdUnavailable: etcd does not answer.
    """
    if options.tenant == "":
        raise FlagMistake("--tenant: names nobody; leave it out for all tenants.")
    if options.action == "list":
        asyncio.run(_list(settings, options.tenant, say))
        return
    check_name(options.name)
    value = None
    if options.action == "set":
        try:
            value = read_value(options.name, options.value)
        except ValueError as exc:
            raise FlagMistake(f"{options.name}: {exc}, not {options.value!r}.") from None
    asyncio.run(_change(settings, options.tenant, options.name, value, say))


def check_name(name: str) -> None:
    """Refuse a name that is no flag's.

    Raises:
        FlagMistake: naming the one that may be meant, and all there are.
    """
    if name in NAMES:
        return
    near = difflib.get_close_matches(name, NAMES, 1)
    meant = f" Did you mean {near[0]}?" if near else ""
    raise FlagMistake(f"There is no flag {name}.{meant} There are {', '.join(NAMES)}.")


async def _list(settings: Settings, tenant: str | None, say: Say) -> None:
    prefix = settings.flags.prefix
    values: dict[str, str] = {}
    if settings.flags.endpoints:
        async with EtcdClient(settings.flags) as client:
            values = dict((await client.get_prefix(f"{prefix}/")).values)
    else:
        say("No etcd is configured (SOMABRAIN_FLAGS__ENDPOINTS): every flag has its default, and none can be set.")
    reading = read_keys(prefix, values, Reading())
    rows = [("FLAG", "VALUE", "SOURCE", "WHAT IT DOES")]
    for name in NAMES:
        value, source = _holds(name, tenant, reading, settings)
        rows.append((name, write_value(value), source, Flags.model_fields[name].description or ""))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        told = textwrap.wrap(row[3], max(40, WIDTH - sum(widths) - 6)) or [""]
        say("  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), told[0]]))
        for line in told[1:]:
            say(" " * (sum(widths) + 6) + line)
    if tenant is None:
        for named, chosen in sorted(reading.tenants.items()):
            for name, value in sorted(chosen.items()):
                say(f"for the tenant {named} alone: {name} {write_value(value)}")
    for problem in reading.problems:
        say(f"in etcd, and of no effect: {problem}")


def _holds(name: str, tenant: str | None, reading: Reading, settings: Settings) -> tuple[Value, str]:
    """Return the value that holds for a tenant, or for all without one of their own, and where it comes from."""
    if tenant is not None and name in reading.tenants.get(tenant, {}):
        return reading.tenants[tenant][name], "tenant"
    if name in reading.everywhere:
        return reading.everywhere[name], "global"
    value: Value = getattr(defaults(settings.quota), name)
    return value, "settings" if name in LIMITS and name in settings.quota.model_fields_set else "default"


async def _change(settings: Settings, tenant: str | None, name: str, value: Value | None, say: Say) -> None:
    if not settings.flags.endpoints:
        raise ConfigurationError(
            "flags.endpoints: is empty, so there is no etcd to keep a flag in; set SOMABRAIN_FLAGS__ENDPOINTS."
        )
    key = key_of(settings.flags.prefix, name, tenant)
    whose = "all tenants" if tenant is None else f"the tenant {tenant}"
    async with EtcdClient(settings.flags) as client:
        if value is None:
            before = await client.delete(key)
        else:
            before = await client.put(key, write_value(value))
        reading = read_keys(
            settings.flags.prefix, (await client.get_prefix(f"{settings.flags.prefix}/")).values, Reading()
        )
    holds, source = _holds(name, tenant, reading, settings)
    say(f"{name} for {whose}: was {'not set' if before is None else before}, is {write_value(holds)} ({source})")
