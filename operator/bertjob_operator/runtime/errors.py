"""What a refusal of the API server means (pure)."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from bertjob_api.cluster import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)

MESSAGE_MAX: Final = 1000
"""Longest text quoted from a server, in characters; validation errors of a pod can fill pages."""


class RetryLaterError(UnavailableError):
    """The server said how long to stay away."""

    def __init__(self, message: str, *, retry_after: timedelta) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class ExpiredError(UnavailableError):
    """The version to watch from, or the token of the next page, is too old: list again."""


def error_of(what: str, *, code: int, status: Mapping[str, Any] | None, retry_after: str | None = None) -> ClusterError:
    """
    Return the error for an answer that is not a success.

    Args:
        what: verb and object, the start of the message.
        code: HTTP status, or ``code`` of a Status inside a watch.
        status: decoded ``Status`` object; None when the answer was something else, which is not quoted: a proxy's page may
            hold anything.
        retry_after: the header of that name; only the form in seconds counts.

    """
    said = str((status or {}).get("message", "")).strip()
    message = f"{what}: {code} {_explanation(status, said)}"
    if _is_transient(code, said):
        seconds = _seconds(retry_after, status)
        if seconds is None:
            return UnavailableError(message)
        return RetryLaterError(message, retry_after=timedelta(seconds=seconds))
    if code == 422 and _is_conflict(_causes(status), said):
        return ConflictError(message)
    return _BY_CODE.get(code, InvalidError)(message)


_BY_CODE: Final[Mapping[int, type[ClusterError]]] = {
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
}

_NOT_DECLARED: Final = "failed to create typed patch object"
"""How the server answers, with 500, when server-side apply finds a field that the schema does not have."""

_TEST_FAILED: Final = "the server rejected our request due to an error in our request"
"""How the server answers, with 422 and without causes, when a ``test`` of a JSON patch fails or its path is missing."""


def _is_transient(code: int, said: str) -> bool:
    return code in (408, 429) or (code >= 500 and not said.startswith(_NOT_DECLARED))


def _is_conflict(causes: list[Mapping[str, Any]], said: str) -> bool:
    """
    Tell whether a 422 is about another state of the object and not about what was sent.

    A patch for another uid is reported as a change of the immutable ``metadata.uid``.
    """
    return any(cause.get("field") == "metadata.uid" for cause in causes) or (not causes and said == _TEST_FAILED)


def _causes(status: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return ((status or {}).get("details") or {}).get("causes") or []


def _explanation(status: Mapping[str, Any] | None, said: str) -> str:
    """Return the server's reason and message."""
    text = " ".join(filter(None, ((status or {}).get("reason"), said))) or "without an explanation"
    return text if len(text) <= MESSAGE_MAX else f"{text[:MESSAGE_MAX]}..."


def _seconds(header: str | None, status: Mapping[str, Any] | None) -> int | None:
    """Return the wait that the server asks for, in seconds, or None."""
    if header is not None and header.isdecimal():
        return int(header)
    asked = ((status or {}).get("details") or {}).get("retryAfterSeconds")
    return asked if isinstance(asked, int) and asked > 0 else None
