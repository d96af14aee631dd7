"""Termination messages: they fit, and what is read is what was written."""

from hypothesis import given
from hypothesis import strategies as st

from bertjob_api.status import Artifact, Evaluation, Scores
from bertjob_api.termination import MAX_BYTES, Failure, Result, decode, encode

ARTIFACT = Artifact(uri="s3://bucket/models/x", sha256="ab" * 32, size_bytes=23_000_000)


def test_round_trip() -> None:
    """The operator reads exactly what the program wrote."""
    scores = Scores(metric="accuracy", value=0.9, num_examples=528, latency_p50_ms=1.5, size_bytes=90_000_000)
    result = Result(
        artifact=ARTIFACT,
        evaluation=Evaluation(fp32=scores, int8=scores, method="static", verdict="Passed"),
        metrics={"accuracy": 0.9},
        steps=120,
        trained_steps=0,
        details=("dynamic: slower",),
    )

    assert decode(encode(result)) == result


@given(st.lists(st.text(max_size=600), max_size=20), st.text(max_size=20_000))
def test_message_always_fits(details: list[str], text: str) -> None:
    """However much there is to say, the message keeps the limit and its failure."""
    message = encode(Result(failure=Failure(reason="BadData", message=text), details=tuple(details)))

    assert len(message.encode()) <= MAX_BYTES
    found = decode(message)
    assert found is not None
    assert found.failure is not None
    assert found.failure.reason == "BadData"


def test_losing_candidates_go_before_the_result() -> None:
    """A long table is cut from its end; the artifact stays."""
    found = decode(encode(Result(artifact=ARTIFACT, details=tuple("x" * 1000 for _ in range(9)))))

    assert found is not None
    assert found.artifact == ARTIFACT
    assert 0 < len(found.details) < 9


@given(st.text(max_size=300))
def test_foreign_text_is_no_result(text: str) -> None:
    """A message that is not ours is None, never an exception."""
    found = decode(text)

    assert found is None or isinstance(found, Result)
