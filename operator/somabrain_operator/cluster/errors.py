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


def from_code(target: str, code: int, message: str) -> SomaBrainError:
    """Return an answer as an error of ours.

    Args:
        what: what was being done, as the object of a sentence, such as "Deployment demo/quickstart-server".
        code: of HTTP.
        message: of the answer's Status; may be empty.

    Returns:
        NotFound: 404. Aborted: 409. PermissionDenied: 401, 403. FailedPrecondition: 400, 422. ResourceExhausted: 429.
        Unavailable: anything else.
    """
    detail = message or f"status {code}"
    match code:
        case 404:
            return NotFound("Kubernetes object", target)
        case 409:
            return Aborted(f"{target} changed meanwhile: {detail}")
        case 401 | 403:
            return PermissionDenied(f"The operator may not do this to {target}: {detail}")
        case 400 | 422:
            return FailedPrecondition(f"The API server refused {target}: {detail}")
        case 429:
            return ResourceExhausted(f"The API server asks to wait with {target}.", retry_after_s=1.0)
        case _:
            return Unavailable(f"The API server failed with {target}: {detail}")
