"""Parse JSON from outside the process; any input gives a value or a ValueError."""

from __future__ import annotations

import json
from typing import Any


class InvalidJson(ValueError):
    """The text is not JSON, or Python cannot represent it; the message repeats no part of the text."""


def parse_json(text: str | bytes) -> Any:
    """Parse a document.

    Raises:
        InvalidJson: it is not JSON in UTF-8, or nested too deeply: Python's parser calls itself for each level.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise InvalidJson("it is JSON that is nested too deeply") from None
    except ValueError as exc:
        raise InvalidJson(f"it is not JSON: {exc}") from None
