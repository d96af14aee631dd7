"""Every refusal of the API server becomes the error that says what to do about it."""

from datetime import timedelta
from typing import Any

import pytest

from bertjob_api.cluster import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from bertjob_operator.runtime.errors import MESSAGE_MAX, ExpiredError, RetryLaterError, error_of

# Message texts of kube-apiserver v1.36.3; the integration tests hold them to the real one.
TEST_FAILED = "the server rejected our request due to an error in our request"
NOT_DECLARED = "failed to create typed patch object (default/p; /v1, Kind=Pod): .spec.foo: field not declared in schema"


def _status(message: str = "no", **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "reason": "Because", "message": message, "details": details}


CASES: dict[str, tuple[int, dict[str, Any] | None, type[ClusterError]]] = {
    "malformed": (400, _status(), InvalidError),
    "no token": (401, _status(), ForbiddenError),
    "no right": (403, _status(), ForbiddenError),
    "absent": (404, _status(), NotFoundError),
    "not served": (404, None, NotFoundError),
    "verb not served": (405, _status(), InvalidError),
    "timeout told by the server": (408, _status(), UnavailableError),
    "stale version": (409, _status(), ConflictError),
    "version too old": (410, _status(), ExpiredError),
    "too large": (413, _status(), InvalidError),
    "unknown patch type": (415, None, InvalidError),
    "refused by validation": (422, _status(causes=[{"reason": "FieldValueInvalid", "field": "spec.x"}]), InvalidError),
    "refused by a webhook": (422, _status("admission webhook denied the request"), InvalidError),
    "other uid": (422, _status(causes=[{"reason": "FieldValueInvalid", "field": "metadata.uid"}]), ConflictError),
    "failed test of a JSON patch": (422, _status(TEST_FAILED), ConflictError),
    "busy": (429, _status(), UnavailableError),
    "redirect": (302, None, InvalidError),
    "broken": (500, _status(), UnavailableError),
    "field not in the schema": (500, _status(NOT_DECLARED), InvalidError),
    "proxy without backend": (502, None, UnavailableError),
    "starting": (503, _status(), UnavailableError),
    "slow": (504, _status(), UnavailableError),
}


@pytest.mark.parametrize("case", CASES)
def test_error_of_every_answer(case: str) -> None:
    """Each kind of answer has exactly one class, and the message names what was asked and the code."""
    code, status, expected = CASES[case]

    error = error_of("apply Pod default/x", code=code, status=status)

    assert type(error) is expected
    assert str(error).startswith(f"apply Pod default/x: {code} ")


def test_message_quotes_reason_and_message() -> None:
    """What the server said is what the user reads."""
    error = error_of("delete Pod default/x", code=409, status=_status("the UID differs"))

    assert str(error) == "delete Pod default/x: 409 Because the UID differs"


def test_an_answer_that_is_no_status_is_not_quoted() -> None:
    """The page of a proxy may hold anything, so it does not reach logs."""
    assert str(error_of("list pods", code=502, status=None)) == "list pods: 502 without an explanation"


def test_long_messages_are_cut() -> None:
    """A validation error over a whole pod does not flood the log."""
    assert len(str(error_of("x", code=422, status=_status("y" * 10_000)))) < MESSAGE_MAX + 50


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [("7", {}, 7), (None, {"retryAfterSeconds": 3}, 3), ("7", {"retryAfterSeconds": 3}, 7)],
)
def test_retry_after(header: str | None, details: dict[str, Any], seconds: int) -> None:
    """The wait that the server asks for is kept, from the header before the body."""
    error = error_of("x", code=429, status=_status(**details), retry_after=header)

    assert isinstance(error, RetryLaterError)
    assert error.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize("header", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "", "soon"])
def test_unreadable_retry_after_is_ignored(header: str) -> None:
    """A wait that is not in seconds leaves the usual backoff in place."""
    assert type(error_of("x", code=503, status=_status(), retry_after=header)) is UnavailableError
