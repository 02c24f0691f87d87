"""Scenarios of the suites that apply to the MCP server, and why each other one does not; docs/mcp.md has the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

STATELESS, HANDSHAKE = "2026-07-28", "2025-11-25"


@dataclass(frozen=True, slots=True)
class Suite:
    """A version of the npm package `@modelcontextprotocol/conformance`, and the revisions that it is run with."""

    version: str
    revisions: tuple[str, ...]


SUITES: Final = (Suite("0.2.0-alpha.12", (STATELESS, HANDSHAKE)), Suite("0.1.16", (HANDSHAKE,)))


@dataclass(frozen=True, slots=True)
class Green:
    """A scenario that must pass; `excluded`: checks of it that cannot, each with the reason."""

    excluded: Mapping[str, str] = field(default_factory=dict)


OWN_TOOL = "needs a tool of the suite's own"
NO_PROMPTS_OR_RESOURCES = "the server has tools only, and neither prompts nor resources"

GREEN: Final[Mapping[str, Green]] = {
    "server-initialize": Green(),
    "ping": Green(),
    "tools-list": Green(),
    "dns-rebinding-protection": Green(),
    "http-header-validation": Green(),
    "server-stateless": Green(
        {
            "sep-2575-server-rejects-undeclared-capability": OWN_TOOL,
            "sep-2575-missing-capability-http-400": OWN_TOOL,
            "sep-2575-http-server-no-independent-requests-on-stream": OWN_TOOL,
            "sep-2575-server-no-log-without-loglevel": OWN_TOOL,
        }
    ),
    "caching": Green(
        {
            "sep-2549-prompts-list-caching-hints": NO_PROMPTS_OR_RESOURCES,
            "sep-2549-resources-list-caching-hints": NO_PROMPTS_OR_RESOURCES,
            "sep-2549-resources-templates-list-caching-hints": NO_PROMPTS_OR_RESOURCES,
        }
    ),
    "input-required-result-unsupported-methods": Green(),
}

OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    f"It {OWN_TOOL}.": (
        "tools-call-simple-text",
        "tools-call-image",
        "tools-call-audio",
        "tools-call-embedded-resource",
        "tools-call-mixed-content",
        "tools-call-error",
        "json-schema-2020-12",
    ),
    f"Not served: {NO_PROMPTS_OR_RESOURCES}.": (
        "completion-complete",
        "prompts-*",
        "resources-*",
        "sep-2164-resource-not-found",
        "sep-2640-*",
        "input-required-result-non-tool-request",
    ),
    "Not served: no tool reports progress, or writes to a client's log.": (
        "logging-set-level",
        "tools-call-with-logging",
        "tools-call-with-progress",
    ),
    "Not served: no tool asks the client for a sample, an input or its roots.": (
        "tools-call-sampling",
        "tools-call-elicitation",
        "elicitation-*",
        "input-required-result-*",
    ),
    "Not served: there are no tasks; a call ends within its deadline.": ("tasks-*",),
    "Not served: a response is one JSON document, so that there is no stream to open or to poll.": (
        "server-sse-polling",
        "server-sse-multiple-streams",
    ),
    "Not served: there are no sessions, so that any replica answers.": ("server-session-lifecycle",),
    "No argument of a tool is copied to a header.": ("http-custom-header-server-validation",),
}
"""Names of scenarios by the reason why they do not apply; `*` ends a name that several begin with."""


def reason_against(scenario: str) -> str | None:
    """Return why a scenario does not apply; None: it must pass, or is in no table."""
    if scenario in GREEN:
        return None
    for reason, names in OTHERS.items():
        for name in names:
            if scenario == name or (name.endswith("*") and scenario.startswith(name[:-1])):
                return reason
    return None


def table() -> Iterator[str]:
    """Yield the lines of both tables as docs/mcp.md has them."""
    yield "| scenario | all checks but |"
    yield "| --- | --- |"
    for name, green in GREEN.items():
        checks = "; ".join(f"`{check}` ({reason})" for check, reason in green.excluded.items())
        yield f"| `{name}` | {checks} |"
    yield ""
    yield "| does not apply | because |"
    yield "| --- | --- |"
    for reason, names in OTHERS.items():
        yield f"| {', '.join(f'`{name}`' for name in names)} | {reason} |"
