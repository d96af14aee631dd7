"""How objects change in the embedded cluster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob_local.embedded import merge

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("abc", min_size=1, max_size=2), JSON, max_size=4)


@pytest.mark.parametrize(
    ("base", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(base, patch, result):
    """The examples of RFC 7386, appendix A."""
    assert merge.merge_patched(base, patch) == result


@given(OBJECTS, OBJECTS)
def test_overlay_holds_every_leaf_of_the_patch(base, patch):
    """Afterwards every field of the patch stands in the object, and other fields are as they were."""
    result = merge.overlaid(base, patch)

    for path in merge.leaves(patch):
        wanted = merge.value_at(patch, path)
        assert merge.value_at(result, path) == wanted or wanted == {}
    assert set(result) == set(base) | set(patch)
    assert merge.overlaid(result, patch) == result


@given(OBJECTS)
def test_without_all_leaves_is_empty(value):
    """Removing everything that was set leaves nothing, and changes nothing in the argument."""
    before = repr(value)

    assert merge.without(value, merge.leaves(value)) == {}
    assert repr(value) == before


def test_pointer_is_unescaped():
    """Slashes and tildes in keys are written as ~1 and ~0."""
    assert merge.steps("/metadata/annotations/a~1b~0c") == ("metadata", "annotations", "a/b~c")
    assert merge.replaced({"a": [{"b": 1}]}, ("a", "0", "b"), 2) == {"a": [{"b": 2}]}
