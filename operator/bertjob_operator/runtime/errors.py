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
    message = f"{what}: {code} {_said(status)}"
    if code in (408, 429) or code >= 500:
        seconds = _seconds(retry_after, status)
        if seconds is None:
            return UnavailableError(message)
        return RetryLaterError(message, retry_after=timedelta(seconds=seconds))
    return _refusal(code, status)(message)


def _refusal(code: int, status: Mapping[str, Any] | None) -> type[ClusterError]:
    if code in (401, 403):
        return ForbiddenError
    if code == 404:
        return NotFoundError
    if code == 409:
        return ConflictError
    if code == 410:
        return ExpiredError
    if code == 422 and _is_conflict(_causes(status)):
        return ConflictError
    return InvalidError


def _is_conflict(causes: list[Mapping[str, Any]]) -> bool:
    """
    Tell whether a 422 is about another state of the object and not about what was sent.

    A failed ``test`` of a JSON patch is reported as UnexpectedServerResponse without a field; a patch for another uid, as a
    change of the immutable ``metadata.uid``.
    """
    return any(
        cause.get("field") == "metadata.uid"
        or (cause.get("reason") == "UnexpectedServerResponse" and not cause.get("field"))
        for cause in causes
    )


def _causes(status: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return ((status or {}).get("details") or {}).get("causes") or []


def _said(status: Mapping[str, Any] | None) -> str:
    """Return the server's reason and message; the causes too, where the message leaves them out."""
    if status is None:
        return "and no explanation"
    message = str(status.get("message", ""))
    causes = [str(cause.get("message", "")) for cause in _causes(status)]
    extra = "; ".join(cause for cause in causes if cause and cause not in message)
    text = " ".join(filter(None, (status.get("reason", ""), message, f"({extra})" if extra else "")))
    return text if len(text) <= MESSAGE_MAX else f"{text[:MESSAGE_MAX]}..."


def _seconds(header: str | None, status: Mapping[str, Any] | None) -> int | None:
    """Return the wait that the server asks for, in seconds, or None."""
    if header is not None and header.isdecimal():
        return int(header)
    asked = ((status or {}).get("details") or {}).get("retryAfterSeconds")
    return asked if isinstance(asked, int) and asked > 0 else None
