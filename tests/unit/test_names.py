"""Names of children fit in 63 characters, whatever they are made of, and keep their hash."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linnet.core import names

DNS = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
resources = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
versions = st.integers(1, 999_999_999).map(str)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(resources, versions, hashes)
def test_a_revision_and_its_services_have_valid_names(
    deployment: str, version: str, full: str
) -> None:
    name = names.revision(deployment, version, full)
    assert name.endswith(f"-v{version}-{full[:8]}")
    for each in (name, names.mirror(name), names.direct(name), names.cohort(name)):
        assert DNS.fullmatch(each), each


@given(resources, hashes)
def test_a_training_has_a_valid_name(job: str, full: str) -> None:
    name = names.training(job, full)
    assert DNS.fullmatch(name), name
    assert name == f"{job}-train-{full[:8]}"


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        ("delays", "delays-v12-abcdef01"),
        ("d" * 40, f"{'d' * 40}-v12-abcdef01"),
    ],
)
def test_a_revision_is_named_after_deployment_version_and_hash(
    deployment: str, expected: str
) -> None:
    assert names.revision(deployment, "12", "abcdef0123456789") == expected


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert names.digest({"a": 1, "b": {"c": 2, "d": 3}}) == names.digest(
        {"b": {"d": 3, "c": 2}, "a": 1}
    )
    assert names.digest({"a": 1}) != names.digest({"a": "1"})
    assert names.canonical({"b": "ü", "a": [1]}) == '{"a":[1],"b":"ü"}'
