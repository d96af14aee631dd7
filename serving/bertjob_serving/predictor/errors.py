"""
What can go wrong with a request, and the one table that says which status it gets.

::

    RequestError
    +- InvalidRequestError    the request does not say what it must
    +- TooLargeError          more or longer texts than allowed
    +- OverloadedError        as many texts wait as may wait
    +- DeadlineError          no answer in time
    +- EngineError            the engine failed; not the request's fault
"""

from http import HTTPStatus
from typing import Final


class RequestError(Exception):
    """A request gets no answer; the message says what was got, what is expected and the next step."""


class InvalidRequestError(RequestError):
    """The request does not say what it must."""


class TooLargeError(RequestError):
    """More or longer texts than allowed."""


class OverloadedError(RequestError):
    """As many texts wait as may wait."""


class DeadlineError(RequestError):
    """No answer in time."""


class EngineError(RequestError):
    """The engine failed."""


STATUS: Final[dict[type[RequestError], HTTPStatus]] = {
    InvalidRequestError: HTTPStatus.BAD_REQUEST,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    OverloadedError: HTTPStatus.TOO_MANY_REQUESTS,
    DeadlineError: HTTPStatus.GATEWAY_TIMEOUT,
    EngineError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
RETRY_AFTER_S: Final = 1
"""Told to clients that came when the queue was full; it empties within about that time."""


def headers(error: RequestError) -> dict[str, str]:
    """Return the response headers that belong to an error."""
    return {"retry-after": str(RETRY_AFTER_S)} if isinstance(error, OverloadedError) else {}
