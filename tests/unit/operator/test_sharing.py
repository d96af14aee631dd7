"""Cached objects are equal to what came, and have their equal parts in common."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from support.embedding import a_cluster
from support.fake_kubelet import FakeKubelet
from support.jobs import a_job
from support.operating import SETTINGS, together, until

from bertjob_operator.shell.operator import Operator
from bertjob_operator.shell.sharing import GENERATION, Pool

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.floats(0, 2) | st.sampled_from(["", "a", "b" * 300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=5))
def test_values_stay_as_they_are(values: list[Any]) -> None:
    """Whatever was shared before, a value is given back as it came, its types included."""
    pool = Pool()

    for value in values:
        assert repr(pool.share(value)) == repr(value)


def test_equal_parts_are_one() -> None:
    """Two objects have their equal containers and strings in common, and true is not 1."""
    text = b'{"metadata": {"name": "%s"}, "spec": [{"env": [{"name": "some text", "value": null}], "on": %s}]}'
    pool = Pool()
    first, second, third = (
        pool.keep(orjson.loads(text % each)) for each in ((b"a", b"true"), (b"b", b"true"), (b"c", b"1"))
    )

    assert first["spec"] is second["spec"]
    assert first["spec"][0]["env"] is third["spec"][0]["env"]
    assert third["spec"][0]["on"] is not True


def test_nothing_is_remembered_for_ever() -> None:
    """What is asked for stays, whatever else passes by; the rest is forgotten, so the pool does not grow."""
    pool = Pool()
    lasting = pool.share(["lasting"])

    for number in range(3 * GENERATION):
        pool.share(f"passing {number}")
        assert number % 1000 or pool.share(["lasting"]) is lasting
    assert len(pool.parts()) <= 2 * GENERATION


async def test_nobody_changes_what_is_shared() -> None:
    """After the life of a job every remembered part is still what it was remembered as."""
    cluster = await a_cluster()
    operator = Operator(cluster, SETTINGS)
    async with together(cluster.run(), FakeKubelet(cluster).run(), operator.run()):
        await cluster.apply(a_job(training={"replicas": 2}), manager="user")
        await until(cluster, a_job(), "Succeeded")

    parts = operator.pool.parts()
    assert len(parts) > 100
    for key, part in parts:
        assert key == part or key == orjson.dumps(part)
