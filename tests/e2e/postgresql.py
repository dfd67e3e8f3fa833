"""Searches whose study lies in a PostgreSQL, which is lost with all that it held.

Not among the files that pytest finds by itself: `dev/test.sh extras` makes the image first.
"""

from __future__ import annotations

from .world import CONTAINER, Place, World, says

IMAGE = "localhost/linnet/postgresql:15"
BIN = "/usr/lib/postgresql/15/bin"
NOBODY = 65534
"""`initdb` asks for a user that the system knows."""
PASSWORD = "for-this-test-alone"
SERVE = f"""
echo {PASSWORD} > /tmp/password
{BIN}/initdb -D /tmp/data -U linnet -A scram-sha-256 --pwfile=/tmp/password --locale=C -E UTF8
echo "host all all all scram-sha-256" >> /tmp/data/pg_hba.conf
exec {BIN}/postgres -D /tmp/data -k /tmp -c listen_addresses='*' -c fsync=off
"""


def _database(place: Place) -> None:
    """An empty PostgreSQL."""
    secure = {**CONTAINER["securityContext"], "runAsUser": NOBODY}
    place.pod(
        "studies",
        {"image": IMAGE, "command": ["sh", "-ec", SERVE], "envFrom": [], "securityContext": secure},
    )


def test_a_study_in_a_database_outlives_its_loss(world: World) -> None:
    place = world.place("studies")
    _database(place)
    place.service("studies", 5432)
    url = f"postgresql://linnet:{PASSWORD}@studies.{place.namespace}.svc:5432/postgres"
    place.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "studies", "namespace": place.namespace},
            "stringData": {"url": url},
        }
    )
    space = [{"name": "C", "logUniform": {"min": "0.001", "max": "10"}}]
    place.train(
        "search",
        backoffLimit=6,
        search={
            "parallelism": 2,
            "trials": 16,
            "sampler": "TPE",
            "parameters": space,
            "storage": {"secretRef": {"name": "studies"}},
        },
    )
    place.until(
        "TrainingJob", "search", "two trials ended",
        lambda obj: obj.get("status", {}).get("search", {}).get("completed", 0) >= 2,
        seconds=300,
    )  # fmt: skip
    place.api.delete("Pod", place.namespace, "studies", grace=0)
    place.until(
        "TrainingJob", "search", "the lost database is named",
        lambda obj: "database (`search.storage.secretRef`) does not answer"
        in obj.get("status", {}).get("progress", {}).get("message", ""),
    )  # fmt: skip
    place.eventually("the database is gone", lambda: place.get("Pod", "studies") is None)
    _database(place)

    obj = place.is_complete("search", seconds=480)
    found = obj["status"]["search"]
    assert found["of"] == 16 <= found["completed"] <= 17, place.explain()
    assert found["failed"] <= 2, "each pod loses at most the trial that it was in"
    assert says(obj, "Registered", "True", "VersionCreated"), place.explain()
    assert len(world.registry.versions(place.model)) == 1
    run = world.registry.call("GET", "runs/get", run_id=obj["status"]["run"]["id"])
    pods = [each["metadata"]["name"] for each in place.trainer_pods("search")]
    said = [world.api.kubectl("-n", place.namespace, "logs", pod) for pod in pods]
    assert any("does not answer" in each for each in said), said
    assert all(PASSWORD not in each for each in (*said, str(obj), str(run)))
