"""Errors as a language model reads them: the field, what is wrong with it, and the remedy. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from somabrain_client.errors import CallError

_FIELDS = {"parent": "namespace", "memory.key": "new_key", "top_k": "limit", "page_size": "limit"}
"""Names of the tools' arguments, by those of the contract's fields, where they differ."""


def call_message(error: CallError) -> str:
    """Return the text of the service's refusal: its reason, the fields under the tools' names, and when to retry."""
    message = error.message
    for field, description in error.details.fields.items():
        message = message.replace(f"{field}: {description}", f"{argument_name(field)}: {description}")
    retry = error.details.retry_after_s
    parts = [f"{error.reason or error.code.name}: {message}"]
    if retry is not None:
        parts.append(f"Try again in {retry:.3g} s.")
    if error.details.request_id:
        parts.append(f"(request {error.details.request_id})")
    return " ".join(parts)


def argument_name(field: str) -> str:
    """Return the name of a tool's argument, by that of the contract's field."""
    return _FIELDS.get(field) or field.removeprefix("memory.").removeprefix("filter.")


def arguments_message(tool: str, error: ValidationError, names: Iterable[str]) -> str:
    """Return the text for arguments that do not match the tool's schema; it repeats no value."""
    problems = []
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(str(part) for part in each["loc"])
        match each["type"]:
            case "extra_forbidden":
                problems.append(f"{field}: is no argument of {tool}; it takes {', '.join(names)}.")
            case "missing":
                problems.append(f"{field}: is required.")
            case _:
                text = each["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
                problems.append(f"{field}: {text}." if field else f"{text}.")
    return f"INVALID_ARGUMENT: {' '.join(problems)}"
