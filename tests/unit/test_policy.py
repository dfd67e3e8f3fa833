"""What pods say against their revision: its own fault, bad health, or something to wait for."""

from datetime import timedelta

import pytest
from builders import CANDIDATE, NOW, pod, revision
from linnet.api.reasons import Reason
from linnet.core.rollout import inputs, policy
from linnet_server.contract import ExitCode

JUST_NOW = NOW - timedelta(seconds=5)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ExitCode.PROVENANCE_MISMATCH, Reason.PROVENANCE_MISMATCH),
        (ExitCode.FORMAT_NOT_ALLOWED, Reason.FORMAT_NOT_ALLOWED),
        (ExitCode.NOT_SERVABLE, Reason.NOT_SERVABLE),
        (ExitCode.ARTIFACT_MISSING, Reason.ARTIFACT_MISSING),
        (ExitCode.FEATURES_INVALID, Reason.FEATURES_INVALID),
        (ExitCode.STORE_UNAVAILABLE, None),
        (ExitCode.REGISTRY_UNAVAILABLE, None),
        (ExitCode.CREDENTIALS_MISSING, None),
        (ExitCode.INVALID_SETTING, None),
    ],
)
def test_only_its_own_faults_reject_a_revision(code: ExitCode, reason: Reason | None) -> None:
    view = revision(CANDIDATE, pod(ready=False, fetch_exit=int(code), fetch_message="a\nwhy\n"))
    found = policy.own_fault(view, now=NOW)
    assert (found and found.reason) == reason
    if found is not None:
        assert found.message == "why"


@pytest.mark.parametrize("code", [ExitCode.LOAD_FAILED, ExitCode.SELF_CHECK_FAILED])
def test_a_server_that_cannot_load_or_fails_its_check_is_rejected(code: ExitCode) -> None:
    view = revision(CANDIDATE, pod(ready=False, server_exit=int(code)))
    found = policy.own_fault(view, now=NOW)
    assert found is not None
    assert found.message == f"exit code {int(code)}, see its log"


@pytest.mark.parametrize(
    ("restarts", "last", "looping"),
    [
        (3, JUST_NOW, True),
        (2, JUST_NOW, False),
        (9, NOW - timedelta(minutes=6), False),
        (3, None, False),
    ],
)
def test_a_crash_loop_is_three_restarts_lately(restarts: int, last: object, looping: bool) -> None:
    view = revision(CANDIDATE, pod(restarts=restarts, last_restart=last, server_exit=1))
    found = policy.crash_loop(view, now=NOW)
    assert (found is not None) is looping
    if found is not None:
        assert found.message == "the server of pod p restarted 3 times: exit code 1, see its log"


@pytest.mark.parametrize(
    ("since", "unhealthy"), [(timedelta(seconds=59), False), (timedelta(seconds=60), True)]
)
def test_a_candidate_without_a_ready_pod_for_a_minute_is_unhealthy(
    since: timedelta, unhealthy: bool
) -> None:
    view = revision(CANDIDATE, pod(ready=False, ready_changed=NOW - since))
    found = policy.unhealthy(view, now=NOW)
    assert (found is not None) is unhealthy
    if found is not None:
        assert found.message == f"no pod of revision {CANDIDATE} was ready for 60 s"


def test_one_ready_pod_is_health_and_a_pod_that_leaves_is_none() -> None:
    assert policy.unhealthy(revision(CANDIDATE, pod("a"), pod("b", ready=False)), now=NOW) is None
    leaving = revision(CANDIDATE, pod(deleting=True))
    assert policy.unhealthy(leaving, now=NOW) is not None


def test_what_a_revision_waits_for_is_said_with_what_to_do() -> None:
    pulling = pod(ready=False, waiting="ImagePullBackOff", waiting_message="not found")
    found = policy.waits_for(revision(CANDIDATE, pulling))
    assert found is not None
    assert (found.reason, found.message) == (
        Reason.IMAGE_PULL_FAILED,
        "pod p cannot pull its image (ImagePullBackOff: not found): correct "
        "`spec.server.template.image` or `imagePullSecrets`",
    )
    homeless = pod(ready=False, unschedulable="0/1 nodes are available")
    found = policy.waits_for(revision(CANDIDATE, homeless))
    assert found is not None
    assert (found.reason, found.message) == (
        Reason.UNSCHEDULABLE,
        "pod p finds no node: 0/1 nodes are available. Lower `spec.server.template.resources` "
        "or add nodes",
    )
    store = pod(ready=False, fetch_exit=int(ExitCode.STORE_UNAVAILABLE), fetch_message="timed out")
    found = policy.waits_for(revision(CANDIDATE, store))
    assert found is not None
    assert (found.reason, found.message) == (Reason.STORE_UNAVAILABLE, "timed out")
    assert policy.waits_for(revision(CANDIDATE, pod())) is None


@pytest.mark.parametrize(
    ("champion", "candidate", "differs", "sentence"),
    [
        ({"a": "FP64"}, {"a": "FP64"}, False, "the same columns"),
        ({"a": "FP64"}, {"a": "FP64", "b": "BYTES"}, True, "asks also for b"),
        ({"a": "FP64", "b": "BYTES"}, {"a": "FP64"}, False, "no longer wants b"),
        ({"a": "FP64"}, {"a": "INT64"}, True, "takes otherwise a"),
        ({"a": "FP64"}, {"a": "FP64?"}, False, "the same columns"),
        ({"a": "FP64?"}, {"a": "FP64"}, True, "takes otherwise a"),
    ],
    ids=["same", "more", "fewer", "another type", "newly optional", "newly required"],
)
def test_inputs(
    champion: dict[str, str], candidate: dict[str, str], differs: bool, sentence: str
) -> None:
    found = inputs.compare(champion, candidate)
    assert found is not None
    assert inputs.differ(found) is differs
    assert inputs.block(found) is differs
    assert inputs.sentence(found) == sentence


def test_inputs_that_are_not_known_block_where_they_must_be_compatible() -> None:
    assert inputs.compare(None, {"a": "FP64"}) is None
    assert inputs.block(None)
    assert not inputs.differ(None)
