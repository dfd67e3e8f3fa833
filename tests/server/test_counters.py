"""Counters, as the operator and Prometheus read them."""

from linnet_server import contract
from linnet_server.counters import Counters
from prometheus_client.parser import text_string_to_metric_families

from server.harness import GOOD, Served, Stub, run, serving, split


def samples(counters: Counters) -> dict[tuple[str, str], float]:
    """Return the samples by name and by the label that tells them apart."""
    found = {}
    for family in text_string_to_metric_families(counters.render().decode()):
        for sample in family.samples:
            labels = sample.labels
            kind = labels.get("kind", "")
            rest = [labels.get(name, "") for name in ("code", "le", "bucket", "column")]
            found[(sample.name, f"{kind} {''.join(rest)}".strip())] = sample.value
    return found


async def _traffic(served: Served) -> None:
    for body in (GOOD, GOOD, split([900.0, 1.0, "UA"], [960.0, 1.0, "UA"]), b"{"):
        await served.ask("POST", "/invocations", body)
    await served.ask("POST", "/invocations", split([None, 1.0, "UA"]))
    await served.ask("POST", "/v2/models/other/infer", {})
    await served.ask("POST", "/invocations", split([1.0, 1.0, "explode"]))


def test_requests_rows_and_scores_are_counted_by_kind_and_code() -> None:
    async def scenario() -> None:
        async with serving(kind="mirrored") as served:
            await _traffic(served)
            found = samples(served.counters)
            assert found["linnet_requests_total", "mirrored 200"] == 3
            assert found["linnet_requests_total", "mirrored 400"] == 1
            assert found["linnet_requests_total", "mirrored 404"] == 1
            assert found["linnet_requests_total", "mirrored 422"] == 1
            assert found["linnet_requests_total", "mirrored 500"] == 1
            assert found["linnet_rows_total", ""] == 4
            assert found["linnet_requests_in_flight", ""] == 0
            assert found["linnet_predictions_total", "mirrored 0.50"] == 2
            assert found["linnet_predictions_total", "mirrored 0.90"] == 1
            assert found["linnet_predictions_total", "mirrored 0.95"] == 1
            assert found["linnet_predictions_total", "mirrored 0.00"] == 0
            assert found["linnet_request_seconds_count", "mirrored"] == 7
            assert found["linnet_request_seconds_bucket", "mirrored +Inf"] == 7
            assert found["linnet_request_seconds_sum", "mirrored"] > 0

    run(scenario)


def test_requests_in_flight_are_those_without_an_answer_yet() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.1)) as served:
            wire = await served.connect()
            assert (await wire.ask("GET", "/v2")).status == 200
            assert served.counters.in_flight == 0
            answer = await wire.ask("POST", "/invocations", GOOD)
            assert answer.status == 200
            assert served.counters.in_flight == 0
            await wire.close()

    run(scenario)


def test_a_latency_falls_into_the_bucket_whose_upper_edge_holds_it() -> None:
    counters = Counters(model="m", version="1", revision="r")
    for seconds in (0.0005, 0.001, 0.0011, 100.0):
        counters.answered("weighted", "200", seconds)
    found = samples(counters)
    assert found["linnet_request_seconds_bucket", "weighted 0.001"] == 2
    assert found["linnet_request_seconds_bucket", "weighted 0.0012"] == 3
    assert found["linnet_request_seconds_bucket", f"weighted {contract.LATENCY_EDGES[-1]:.6g}"] == 3
    assert found["linnet_request_seconds_bucket", "weighted +Inf"] == 4


def test_a_reset_is_counted_without_a_latency() -> None:
    counters = Counters(model="m", version="1", revision="r")
    counters.unanswered("weighted", contract.CODE_RESET)
    found = samples(counters)
    assert found == {
        ("linnet_requests_total", "weighted reset"): 1,
        ("linnet_rows_total", ""): 0,
        ("linnet_requests_in_flight", ""): 0,
        ("process_start_time_seconds", ""): found["process_start_time_seconds", ""],
    }


def test_scores_at_the_ends_fall_into_the_first_and_last_bucket() -> None:
    counters = Counters(model="m", version="1", revision="r")
    counters.predicted("direct", [0.0, 1.0, float("nan")])
    found = samples(counters)
    assert found["linnet_predictions_total", "direct 0.00"] == 1
    assert found["linnet_predictions_total", "direct 0.95"] == 1


def test_unknown_columns_are_counted_by_name_up_to_a_bound() -> None:
    counters = Counters(model="m", version="1", revision="r")
    assert counters.saw_unknown("a")
    assert not counters.saw_unknown("a")
    for number in range(100):
        counters.saw_unknown(f'c{number:03d}"\n\\')
    found = samples(counters)
    assert found["linnet_unknown_columns_total", "a"] == 2
    assert found["linnet_unknown_columns_total", 'c000"\n\\'] == 1
    assert found["linnet_unknown_columns_total", "other"] == 51
    assert sum(name == "linnet_unknown_columns_total" for name, _ in found) == 51


def test_the_page_names_the_model_and_the_process() -> None:
    counters = Counters(model="delays", version="7", revision="delays-v7-0a1b2c3d")
    counters.know_model(form="Skops", provenance="Verified")
    families = {f.name: f for f in text_string_to_metric_families(counters.render().decode())}
    (sample,) = families["linnet_model_info"].samples
    assert sample.labels == {
        "model_name": "delays",
        "model_version": "7",
        "revision": "delays-v7-0a1b2c3d",
        "format": "Skops",
        "provenance": "Verified",
    }
    first = families["process_start_time_seconds"].samples[0].value
    again = samples(counters)["process_start_time_seconds", ""]
    assert first == again > 1.7e9
