"""Conversion of the API server's status codes to SomaBrainError."""

from __future__ import annotations

from common.errors import (
    Aborted,
    FailedPrecondition,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    SomaBrainError,
    Unavailable,
)

_TERMINATING = "because it is being terminated"
"""End of the API server's message on a creation in a namespace that is being deleted: 403 has many other causes."""


class NamespaceTerminating(PermissionDenied):
    """Nothing can be created any more in a namespace that is being deleted."""


def from_code(target: str, code: int, message: str) -> SomaBrainError:
    """Return the error for an unsuccessful response.

    Args:
        target: object of the request for the message, such as "Deployment demo/quickstart-server".
        code: HTTP status code.
        message: message of the response's Status; may be empty.

    Returns:
        NotFound: 404. Aborted: 409. PermissionDenied: 401, 403; NamespaceTerminating, if that is the cause. OutOfRange:
        410. FailedPrecondition: 400, 422. ResourceExhausted: 429. Unavailable: anything else.
    """
    detail = message or f"status {code}"
    match code:
        case 404:
            return NotFound("Kubernetes object", target)
        case 409:
            return Aborted(f"{target} was changed concurrently: {detail}")
        case 403 if detail.rstrip(".").endswith(_TERMINATING):
            return NamespaceTerminating(f"The API server refused {target}: {detail}")
        case 401 | 403:
            return PermissionDenied(f"The operator has no permission for this request on {target}: {detail}")
        case 410:
            return OutOfRange(f"The API server no longer has the version that was requested of {target}: {detail}")
        case 400 | 422:
            return FailedPrecondition(f"The API server refused {target}: {detail}")
        case 429:
            return ResourceExhausted(f"The API server throttled the request on {target}.", retry_after_s=1.0)
        case _:
            return Unavailable(f"The API server failed the request on {target}: {detail}")
