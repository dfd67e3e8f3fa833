"""What the registry records of a version, and what a revision's pods check against it."""

from dataclasses import replace

import pytest
from builders import NOW, midway, spec
from linnet.api import labels
from linnet.core.registry import ModelView, VersionView
from linnet.core.rollout import judgement, records, resources
from linnet.core.rollout.state import Observation
from linnet_server import contract

TRAINED = {
    labels.VERSION_MANIFEST: "sha256:aa",
    labels.VERSION_CONTENT: "sha256:bb",
    labels.VERSION_DATA: "sha256:cc",
}
ADOPTED = {labels.VERSION_CONTENT: "sha256:bb"}


def version(**tags: str) -> VersionView:
    return VersionView(version="2", artifact_uri="s3://m/2", run_id="run-7", tags=tags)


def seeing(asked: VersionView) -> Observation:
    known = ModelView(name="delays", aliases={"challenger": "2"}, versions={"2": asked})
    return midway(model=known)


def test_the_fetch_container_gets_the_whole_record() -> None:
    template = resources.make_pod_template(seeing(version()), version(**TRAINED), revision="r")
    (fetch,) = template["spec"]["initContainers"]
    told = {entry["name"]: entry.get("value") for entry in fetch["env"]}
    assert told[contract.ENV_DIGEST] == "sha256:aa"
    assert told[contract.ENV_CONTENT_DIGEST] == "sha256:bb"
    assert told[contract.ENV_DATA_DIGEST] == "sha256:cc"
    assert told[contract.ENV_RUN_ID] == "run-7"


@pytest.mark.parametrize(
    ("tags", "digest", "provenance", "reason"),
    [
        (TRAINED, "sha256:aa", "Verified", "Resolved"),
        (ADOPTED, "sha256:bb", "Verified", "Resolved"),
        ({}, None, "Unverified", "Unverified"),
    ],
    ids=["trained by Linnet", "adopted", "neither"],
)
def test_who_vouches_for_a_version(
    tags: dict[str, str], digest: str | None, provenance: str, reason: str
) -> None:
    asked = version(**tags)
    arm = records.arm_of(seeing(asked), asked)
    assert (arm.digest, arm.provenance) == (digest, provenance)
    seen = seeing(asked)
    view = judgement.judge(seen, seen.status, now=NOW)
    resolved = next(each for each in view.conditions if each.type == "ModelResolved")
    assert (resolved.status, resolved.reason) == ("True", reason)


def test_an_adoption_makes_a_new_revision_and_is_what_a_rejection_is_remembered_by() -> None:
    before, after = version(), version(**ADOPTED)
    assert resources.wish_key(spec(), before) != resources.wish_key(spec(), after)
    renumbered = replace(after, version="3")
    assert resources.content_key(spec(), after) == resources.content_key(spec(), renumbered)
    assert resources.content_key(spec(), after) != resources.content_key(spec(), before)


def test_a_version_that_linnet_trained_keeps_its_identity_whatever_else_is_recorded() -> None:
    plain = version(**{labels.VERSION_MANIFEST: "sha256:aa"})
    assert resources.wish_key(spec(), plain) == resources.wish_key(spec(), version(**TRAINED))
