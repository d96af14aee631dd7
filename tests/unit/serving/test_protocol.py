"""Requests and responses as values."""

import dataclasses
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
from bertjob_serving.predictor.protocol import Form
from bertjob_serving.predictor.settings import Limits
from bertjob_tasks.registry import task_of

LIMITS = Limits(max_batch=3, max_chars=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


INSTANCE = JSON | st.fixed_dictionaries({"text": st.text(max_size=25), "text_pair": st.text(max_size=25)})


@given(
    JSON | st.fixed_dictionaries({"instances": st.lists(INSTANCE, max_size=4)}, optional={"parameters": JSON}),
    st.sampled_from([("text",), ("text", "text_pair")]),
)
def test_any_v1_body_is_read_or_refused(body: Any, names: tuple[str, ...]) -> None:
    """Whatever JSON comes, the answer is a query within the limits or a RequestError."""
    try:
        query = protocol.v1_query(body, Form(names), LIMITS)
    except RequestError:
        return
    assert 1 <= len(query.items) <= 3
    assert all(isinstance(item, str) == (len(names) == 1) for item in query.items)
    assert all(len(text) <= 20 for item in query.items for text in ([item] if isinstance(item, str) else item))


@given(st.lists(st.text(max_size=9) | st.binary(max_size=9) | st.integers(), max_size=5))
def test_any_v2_elements_are_read_or_refused(values: list[Any]) -> None:
    """Strings and UTF-8 bytes give the same query; everything else is refused."""
    try:
        query = protocol.v2_query([values], ("text",), None, LIMITS)
    except RequestError:
        return
    decoded = [value.decode() if isinstance(value, bytes) else value for value in values]
    assert list(query.items) == decoded


def test_texts_come_plain_or_in_objects() -> None:
    """Both spellings of an instance are read alike, and scores are off unless asked for."""
    body = {"instances": ["a", {"text": "b"}]}

    assert protocol.v1_query(body, Form(("text",)), LIMITS) == protocol.Query(("a", "b"), with_scores=False)
    assert protocol.v1_query({**body, "parameters": {"scores": True}}, Form(("text",)), LIMITS).with_scores


def test_pairs_come_in_objects_or_in_two_inputs() -> None:
    """Both protocols give the same pairs; half a pair is refused with what is expected."""
    names = ("text", "text_pair")
    expected = protocol.Query((("a", "b"), ("c", "d")), with_scores=False)

    instances = [{"text": "a", "text_pair": "b"}, {"text": "c", "text_pair": "d"}]
    assert protocol.v1_query({"instances": instances}, Form(names), LIMITS) == expected
    assert protocol.v2_query([["a", b"c"], ["b", "d"]], names, None, LIMITS) == expected

    for half in ({"text": "a"}, "a", {"text": "a", "text_pair": 1}):
        with pytest.raises(InvalidRequestError, match=r'expected \{"text": "a text", "text_pair": "a text"\}'):
            protocol.v1_query({"instances": [half]}, Form(names), LIMITS)
    with pytest.raises(InvalidRequestError, match="text: 2, text_pair: 1"):
        protocol.v2_query([["a", "c"], ["b"]], names, None, LIMITS)


def test_half_a_surrogate_pair_is_refused() -> None:
    """JSON can spell what no tokenizer can read."""
    with pytest.raises(InvalidRequestError, match="half of a surrogate pair"):
        protocol.v1_query(json.loads('{"instances": ["\\ud800"]}'), Form(("text",)), LIMITS)


def test_golden_set_survives_its_file() -> None:
    """What is written is read, rounded; damage is called damage."""
    items = [
        golden.Item(ids=(1, 2), text=text, fp32=(0.123456, 1.0), served=(0.5, -1.0)) for text in (None, "a", ("a", "b"))
    ]

    read = golden.from_json(golden.to_json(items))

    assert read == tuple(dataclasses.replace(item, fp32=(0.1235, 1.0)) for item in items)
    with pytest.raises(CorruptError, match="run optimize again"):
        golden.from_json(b'{"items": [{"ids": 5}]}')


@pytest.mark.parametrize(
    ("got", "same"),
    [([2.0, -1.0], True), ([2.1, -1.1], True), ([0.0, 1.0], False), ([np.nan, 0.0], False), ([2.0, -1.0, 0.0], False)],
    ids=["equal", "rounding", "another label", "no number", "another shape"],
)
def test_answers_are_compared_by_probability(got: list[float], same: bool) -> None:
    """Rounding differs between CPUs; another answer, or none, is told."""
    assert golden.same_answer(task_of("sequence-classification", None), (2.0, -1.0), np.array(got)) is same


def test_gaps_of_batch_mates_do_not_count() -> None:
    """A text with one gap is answered as recorded beside a text with two; another word, or none, is told."""
    task, own = task_of("masked-lm", None), np.array([[0.9, *[0.01] * 9, *range(10)]])
    absent, recorded = np.full((1, 20), -1.0), tuple(own.ravel().tolist())

    assert golden.same_answer(task, recorded, np.concatenate([own, absent]))
    assert golden.same_answer(task, (-1.0,) * 20, np.concatenate([absent, absent]))
    assert not golden.same_answer(task, recorded, np.concatenate([own, own]))
    assert not golden.same_answer(task, recorded, absent)
    assert not golden.same_answer(task, recorded, np.full((1, 20), np.nan))


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
