"""Requests and responses as values."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob_api.manifest import CorruptError
from bertjob_serving import cpu, golden
from bertjob_serving.predictor import protocol, settings
from bertjob_serving.predictor.errors import InvalidRequestError, RequestError
from bertjob_serving.predictor.settings import Limits
from bertjob_tasks.classification import Prediction

LIMITS = Limits(max_batch=3, max_chars=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(JSON | st.fixed_dictionaries({"instances": st.lists(JSON)}, optional={"parameters": JSON}))
def test_any_v1_body_is_read_or_refused(body: Any) -> None:
    """Whatever JSON comes, the answer is a query within the limits or a RequestError."""
    try:
        query = protocol.v1_query(body, LIMITS)
    except RequestError:
        return
    assert 1 <= len(query.texts) <= 3
    assert all(len(text) <= 20 for text in query.texts)


@given(st.lists(st.text(max_size=9) | st.binary(max_size=9) | st.integers(), max_size=5))
def test_any_v2_elements_are_read_or_refused(values: list[Any]) -> None:
    """Strings and UTF-8 bytes give the same query; everything else is refused."""
    try:
        query = protocol.v2_query(values, None, LIMITS)
    except RequestError:
        return
    decoded = [value.decode() if isinstance(value, bytes) else value for value in values]
    assert list(query.texts) == decoded


def test_texts_come_plain_or_in_objects() -> None:
    """Both spellings of an instance are read alike, and scores are off unless asked for."""
    body = {"instances": ["a", {"text": "b"}]}

    assert protocol.v1_query(body, LIMITS) == protocol.Query(("a", "b"), with_scores=False)
    assert protocol.v1_query({**body, "parameters": {"scores": True}}, LIMITS).with_scores


def test_half_a_surrogate_pair_is_refused() -> None:
    """JSON can spell what no tokenizer can read."""
    with pytest.raises(InvalidRequestError, match="half of a surrogate pair"):
        protocol.v1_query(json.loads('{"instances": ["\\ud800"]}'), LIMITS)


def test_responses_of_both_protocols() -> None:
    """Label and score, and the probabilities of all labels when asked for."""
    found = [Prediction("b", 0.75, (0.25, 0.75)), Prediction("a", 0.5, (0.5, 0.5))]
    query = protocol.Query(("x", "y"), with_scores=True)

    assert protocol.v1_response(found, query, ("a", "b"))["predictions"][0] == {
        "label": "b",
        "score": 0.75,
        "scores": {"a": 0.25, "b": 0.75},
    }
    assert protocol.v2_outputs(found, query) == {
        "label": ("BYTES", [2], ["b", "a"]),
        "score": ("FP32", [2], [0.75, 0.5]),
        "scores": ("FP32", [2, 2], [0.25, 0.75, 0.5, 0.5]),
    }


def test_golden_set_survives_its_file() -> None:
    """What is written is read, rounded; damage is called damage."""
    items = (golden.Item(ids=(1, 2), text=None, fp32=(0.123456, 1.0), served=(0.5, -1.0)),)

    (read,) = golden.from_json(golden.to_json(items))

    assert read == golden.Item(ids=(1, 2), text=None, fp32=(0.1235, 1.0), served=(0.5, -1.0))
    with pytest.raises(CorruptError, match="run optimize again"):
        golden.from_json(b'{"items": [{"ids": 5}]}')


@pytest.mark.parametrize(
    ("got", "same"),
    [([2.0, -1.0], True), ([2.1, -1.1], True), ([0.0, 1.0], False), ([np.nan, 0.0], False), ([2.0, -1.0, 0.0], False)],
    ids=["equal", "rounding", "another label", "no number", "another shape"],
)
def test_answers_are_compared_by_probability(got: list[float], same: bool) -> None:
    """Rounding differs between CPUs; another answer, or none, is told."""
    assert golden.same_answer((2.0, -1.0), np.array(got)) is same


def test_address_is_the_pods_own() -> None:
    """The server listens on POD_IP where it is set, and flags change limits."""
    found = settings.parse(["--model_name=m", "--max_batch=7", "--http_port=0"], {"POD_IP": "127.1.2.3"})

    assert (found.host, found.port, found.limits.max_batch) == ("127.1.2.3", 0, 7)
    assert settings.parse(["--model_name=m"], {}).host == "0.0.0.0"


def test_cpus_of_this_machine() -> None:
    """There is at least one CPU, and the fastest INT8 feature of a set is found."""
    assert cpu.available() >= 1
    assert cpu.int8_feature(frozenset({"avx2", "avx_vnni", "avx512_vnni"})) == "avx512_vnni"
    assert cpu.int8_feature(frozenset({"avx2"})) is None
