"""Parsing: every mistake is found and named; what is right survives a round trip."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bad_specs import BAD_SPECS, BadSpec
from support.jobs import a_job

from bertjob_api.job import parse_job, resolved
from bertjob_api.parse import InvalidSpecError, dump, parse
from bertjob_api.spec import JobSpec


@pytest.mark.parametrize("bad", BAD_SPECS, ids=lambda bad: bad.name)
def test_bad_spec_is_refused_with_its_path(bad: BadSpec) -> None:
    """Each bad spec is refused, and the message names the field."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_job(bad.job)

    assert bad.path in str(caught.value)


def test_all_mistakes_are_reported_at_once() -> None:
    """A user sees every mistake of a file, not the first one."""
    job = a_job(model={"source": "nowhere"}, training={"epochs": 0, "seeds": 1})

    with pytest.raises(InvalidSpecError) as caught:
        parse_job(job)

    assert len(caught.value.errors) == 3


def test_misspelt_field_gets_a_suggestion() -> None:
    """An unknown field close to a known one is met with the right spelling."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_job(a_job(trainin={}))

    assert caught.value.errors == ["spec.trainin: unknown field; did you mean training?"]


def test_local_runs_may_read_local_files() -> None:
    """What only a cluster cannot reach is allowed in a local run."""
    job = a_job(data={"train": "file:///data/train.jsonl"}, storage={"prefix": "file:///data"})

    assert parse_job(job, local=True).spec.storage.prefix == "file:///data"


def test_defaults_are_filled_in() -> None:
    """An omitted part means its documented default."""
    spec = parse_job(a_job()).spec

    assert (spec.training.replicas, spec.training.seed, spec.data.format) == (1, 42, "jsonl")
    assert spec.optimize is None


def test_resolved_job_parses_to_itself() -> None:
    """What the pods read is the same spec that the operator parsed."""
    job = parse_job(a_job(optimize={}, serving={"inferenceService": "docs"}))

    assert parse_job(resolved(job)).spec == job.spec


@given(
    replicas=st.integers(1, 64),
    epochs=st.integers(1, 50),
    rate=st.floats(0, 1, allow_nan=False),
    labels=st.lists(st.text("abcdef", min_size=1, max_size=5), min_size=2, max_size=8, unique=True),
)
def test_dump_and_parse_are_inverse(replicas: int, epochs: int, rate: float, labels: list[str]) -> None:
    """Every valid spec survives the way to JSON and back."""
    training = {"replicas": replicas, "epochs": epochs, "learningRate": rate}
    spec = parse_job(a_job(training=training, model={"labels": labels})).spec

    assert parse(JobSpec, dump(spec)) == spec


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_nonsense_never_raises_anything_else(value: object) -> None:
    """Whatever stands in a file, the parser answers with a spec or InvalidSpecError."""
    with contextlib.suppress(InvalidSpecError):
        parse(JobSpec, value)
