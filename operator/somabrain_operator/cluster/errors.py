"""From what the API server answers to our own tree of errors: the one place where lightkube's are known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from lightkube.core.exceptions import ApiError

from common.errors import (
    Aborted,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SomaBrainError,
    Unavailable,
)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise what the block raises as an error of ours.

    Args:
        what: what was being done, as the object of a sentence, such as "Deployment demo/quickstart-server".

    Raises:
        NotFound: 404. Aborted: 409. PermissionDenied: 401, 403. FailedPrecondition: 400, 422.
        ResourceExhausted: 429. Unavailable: the server failed or cannot be reached.
    """
    try:
        yield
    except ApiError as exc:
        raise _from_code(what, exc.status.code or exc.response.status_code, exc.status.message or "") from exc
    except httpx2.HTTPStatusError as exc:  # an answer that is no Status, as for a kind the server does not know
        raise _from_code(what, exc.response.status_code, "") from exc
    except httpx2.HTTPError as exc:
        raise Unavailable(f"The API server did not answer about {what}: {type(exc).__name__}.") from exc


def _from_code(what: str, code: int, message: str) -> SomaBrainError:
    said = message or f"status {code}"
    match code:
        case 404:
            return NotFound("Kubernetes object", what)
        case 409:
            return Aborted(f"{what} changed meanwhile: {said}")
        case 401 | 403:
            return PermissionDenied(f"The operator may not do this to {what}: {said}")
        case 400 | 422:
            return FailedPrecondition(f"The API server refused {what}: {said}")
        case 429:
            return ResourceExhausted(f"The API server asks to wait with {what}.", retry_after_s=1.0)
        case _:
            return Unavailable(f"The API server failed with {what}: {said}")
