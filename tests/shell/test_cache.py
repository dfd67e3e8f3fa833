"""The cache never goes back in time, keeps no dead object, and takes our own writes."""

from typing import Any

import pytest
from linnet.shell.cache import Cache, Key, owners_of, registered_model

OWNER = Key("ModelDeployment", "team", "delays")


def pod(version: int, *, uid: str = "u1", name: str = "p", owner: str | None = "delays") -> Any:
    labels = {"linnet.dev/model-deployment": owner} if owner else {}
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": uid,
            "resourceVersion": str(version),
            "labels": labels,
        },
    }


KEY = Key("Pod", "team", "p")


@pytest.mark.parametrize(
    ("second", "taken"),
    [
        (pod(9), False),
        (pod(10), False),
        (pod(11), True),
        (pod(100, uid="u2"), True),
        (pod(5, uid="u2"), False),
    ],
    ids=["older", "the same", "newer", "another uid, newer", "another uid, older"],
)
def test_only_news_is_taken(second: Any, taken: bool) -> None:
    cache = Cache()
    assert cache.update(pod(10))
    assert cache.update(second) is taken
    known = cache.get(KEY)
    assert known is not None
    assert known["metadata"] == (second if taken else pod(10))["metadata"]


def test_versions_are_compared_as_numbers() -> None:
    cache = Cache()
    cache.update(pod(9))
    assert cache.update(pod(10))


def test_what_is_cached_does_not_change_with_what_was_given() -> None:
    cache = Cache()
    given = pod(1)
    cache.update(given)
    given["metadata"]["labels"].clear()
    assert cache.children(OWNER)


def test_a_deletion_removes_and_a_late_one_of_an_older_object_does_not() -> None:
    cache = Cache()
    cache.update(pod(10, uid="u2"))
    cache.remove(pod(8, uid="u1"))
    assert cache.get(KEY) is not None
    cache.remove(pod(11, uid="u2"))
    assert cache.get(KEY) is None
    assert cache.children(OWNER) == []
    cache.remove(pod(12, uid="u2"))


def test_children_follow_their_owner_label() -> None:
    cache = Cache()
    cache.update(pod(1, name="b"))
    cache.update(pod(2, name="a", uid="u2"))
    assert [child["metadata"]["name"] for child in cache.children(OWNER)] == ["a", "b"]
    cache.update(pod(3, name="a", uid="u2", owner="other"))
    assert [child["metadata"]["name"] for child in cache.children(OWNER)] == ["b"]
    assert len(cache.children(Key("ModelDeployment", "team", "other"))) == 1


def uids(*objects: Any) -> dict[Key, str]:
    return cached(*objects).uids("Pod")


def cached(*objects: Any) -> Cache:
    cache = Cache()
    for obj in objects:
        assert cache.update(obj)
    return cache


A, B, C = pod(1, name="a", uid="a"), pod(2, name="b", uid="b"), pod(3, name="c", uid="c")


@pytest.mark.parametrize(
    ("listed", "gone"),
    [([C], ["a", "b"]), ([A], ["b", "c"]), ([], ["a", "b", "c"]), ([A, B, C], [])],
    ids=["older ones", "the newest ones too", "all", "none"],
)
def test_a_complete_list_prunes_what_vanished(listed: list[Any], gone: list[str]) -> None:
    cache = cached(A, B, C)
    removed = cache.prune(cache.uids("Pod", "team"), uids(*listed))
    assert [obj["metadata"]["name"] for obj in removed] == gone
    assert len(cache) == 3 - len(gone)
    assert len(cache.children(OWNER)) == 3 - len(gone)


def test_what_came_in_while_the_list_was_read_is_kept() -> None:
    cache = cached(A)
    before = cache.uids("Pod")
    cache.update(B)
    assert cache.prune(before, uids(A)) == []
    assert len(cache) == 2


def test_an_object_that_was_deleted_and_made_anew_unseen_is_replaced() -> None:
    cache = cached(pod(1, uid="old"))
    remade = pod(9, uid="new")
    assert len(cache.prune(cache.uids("Pod"), uids(remade))) == 1
    assert cache.update(remade)


def test_an_object_that_was_made_anew_while_the_list_was_read_is_kept() -> None:
    cache = cached(pod(1, uid="old"))
    before = cache.uids("Pod")
    cache.update(pod(9, uid="new"))
    assert cache.prune(before, {}) == []
    assert cache.get(KEY) is not None


def test_kinds_and_namespaces_are_kept_apart() -> None:
    other = pod(2, name="q", uid="q")
    other["metadata"]["namespace"] = "else"
    cache = cached(pod(1), other)
    assert list(cache.uids("Pod", "else")) == [Key("Pod", "else", "q")]
    assert cache.of_kind("Job") == []


def test_owners() -> None:
    ours = {"kind": "TrainingJob", "metadata": {"name": "t", "namespace": "team"}}
    assert owners_of(ours) == (Key("TrainingJob", "team", "t"),)
    assert owners_of(pod(1)) == (OWNER,)
    assert owners_of(pod(1, owner=None)) == ()
    assert owners_of({"kind": "Gateway", "metadata": {"name": "eg", "labels": None}}) == ()


def wish(name: str, model: str, version: int = 1) -> Any:
    meta = {"name": name, "namespace": "team", "uid": name, "resourceVersion": str(version)}
    return {"kind": "ModelDeployment", "metadata": meta, "spec": {"model": {"name": model}}}


def test_who_looks_at_a_model_or_a_deployment_is_found() -> None:
    policy = {
        "kind": "DriftPolicy",
        "metadata": {"name": "d", "namespace": "team", "uid": "d", "resourceVersion": "1"},
        "spec": {"modelDeploymentRef": {"name": "b"}},
    }
    cache = cached(wish("b", "delays"), wish("a", "delays"), wish("c", "other"), policy)
    assert [key.name for key in cache.readers(registered_model("delays"))] == ["a", "b"]
    assert cache.readers(Key("ModelDeployment", "team", "b")) == [Key("DriftPolicy", "team", "d")]
    assert cache.models() == {"delays", "other"}
    cache.update(wish("c", "delays", 2))
    assert cache.models() == {"delays"}


def test_what_is_handed_out_is_the_readers_own() -> None:
    cache = cached(wish("a", "delays"))
    for read in (cache.get(Key("ModelDeployment", "team", "a")), *cache.of_kind("ModelDeployment")):
        assert read is not None
        read["spec"]["model"]["name"] = "changed"
    assert cache.models() == {"delays"}
    assert cache.of_kind("ModelDeployment")[0]["spec"]["model"]["name"] == "delays"


@pytest.mark.parametrize("text", ["", "é漢字\u2028", "x" * 40_000], ids=["none", "unicode", "long"])
def test_objects_come_out_as_they_went_in_but_for_managed_fields(text: str) -> None:
    first, second = wish("a", "delays"), wish("b", "delays")
    first["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    first["status"], second["status"] = {"message": text}, {"message": text[::-1], "n": 0.1}
    cache = cached(first, second)
    del first["metadata"]["managedFields"]
    assert cache.of_kind("ModelDeployment") == [first, second]
