"""`covers` says whether a live object already holds what we would apply."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linnet.core.subset import covers, quantity

names = st.text("abcdef", min_size=1, max_size=4)
leaves = st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.text("abc", max_size=3))
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(names, values, max_size=4)


@given(objects)
def test_everything_covers_itself(value: dict[str, Any]) -> None:
    assert covers(value, value)


def added(value: Any, extra: dict[str, Any]) -> Any:
    """The value as a server would return it: every map holds more."""
    if isinstance(value, dict):
        grown = {key: added(item, extra) for key, item in value.items()}
        return {**extra, **grown}
    if isinstance(value, list):
        return [added(item, extra) for item in value]
    return value


@given(objects)
def test_what_a_server_adds_to_maps_does_not_matter(value: dict[str, Any]) -> None:
    assert covers(added(value, {"zz-default": "x"}), value)


@given(objects, st.data())
def test_a_change_of_any_leaf_is_seen(value: dict[str, Any], data: st.DataObject) -> None:
    paths = list(_leaves(value))
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    assert not covers(_with(value, path, "something else"), value)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path


def _with(value: Any, path: tuple[Any, ...], leaf: Any) -> Any:
    if not path:
        return leaf
    if isinstance(value, dict):
        return {**value, path[0]: _with(value[path[0]], path[1:], leaf)}
    return [_with(v, path[1:], leaf) if i == path[0] else v for i, v in enumerate(value)]


@settings(max_examples=50)
@given(objects, objects)
def test_what_covers_a_whole_covers_its_part(a: dict[str, Any], b: dict[str, Any]) -> None:
    if covers(a, {**b, **a}):
        assert covers(a, b) or any(key in a for key in b)


@pytest.mark.parametrize(
    ("live", "wanted", "covered"),
    [
        ({"cpu": "1"}, {"cpu": "1000m"}, True),
        ({"cpu": "500m"}, {"cpu": "0.5"}, True),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, True),
        ({"memory": "1G"}, {"memory": "1Gi"}, False),
        ({"cpu": 1}, {"cpu": "1"}, True),
        ({}, {"readOnly": False}, True),
        ({}, {"name": ""}, True),
        ({}, {"list": []}, True),
        ({}, {"map": {}}, True),
        ({}, {"readOnly": True}, False),
        ({}, {"initialDelaySeconds": 0}, True),
        ({}, {"initialDelaySeconds": 1}, False),
        ({"list": [1, 2]}, {"list": [1]}, False),
        ({"list": [{"a": 1, "b": 2}]}, {"list": [{"a": 1}]}, True),
        ({"selector": {"a": "1", "b": "2"}}, {"selector": {"a": "1"}}, False),
        ({"selector": {"a": "1"}}, {"selector": {"a": "1"}}, True),
        ({"a": "x"}, {"a": {"b": 1}}, False),
        ({"a": {"b": 1}}, {"a": "x"}, False),
    ],
)
def test_what_the_server_writes_otherwise(live: Any, wanted: Any, covered: bool) -> None:
    assert covers(live, wanted) is covered


@pytest.mark.parametrize("text", ["", "abc", "-1", "1 Gi", "1X"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)
