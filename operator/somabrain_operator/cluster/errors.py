"""From what the API server answers to our own tree of errors: the one place where its status codes are known."""

from __future__ import annotations

from common.errors import (
    Aborted,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SomaBrainError,
    Unavailable,
)


def from_code(what: str, code: int, message: str) -> SomaBrainError:
    """Return an answer as an error of ours.

    Args:
        what: what was being done, as the object of a sentence, such as "Deployment demo/quickstart-server".
        code: of HTTP.
        message: of the answer's Status; may be empty.

    Returns:
        NotFound: 404. Aborted: 409. PermissionDenied: 401, 403. FailedPrecondition: 400, 422. ResourceExhausted: 429.
        Unavailable: anything else.
    """
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
