"""The operator reads from a server's metrics page what the server counted."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from linnet.adapters import pods
from linnet.core.rollout.state import ScrapeTarget
from linnet_server import contract
from linnet_server.counters import PROCESS_START, Counters

TARGET = ScrapeTarget(pod_uid="u", revision="delays-v1-00000000", address="10.0.0.1")
KINDS = tuple(contract.KIND_BY_PORT.values())
CODES = ("200", "400", "422", "500", "503")


def counters(**labels: str) -> Counters:
    given = {"model": "delays", "version": "1", "revision": TARGET.revision, **labels}
    return Counters(**given)


def test_an_empty_page_says_when_its_process_started_and_nothing_else() -> None:
    page = pods.parse(counters().render().decode(), TARGET)
    assert page is not None
    assert page.requests == {}
    assert page.started == f"{PROCESS_START:.6f}"
    assert page.format == ""


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from((*CODES, contract.CODE_RESET)))))
def test_requests_are_read_by_kind_and_code(answers: list[tuple[str, str]]) -> None:
    counted = counters()
    for kind, code in answers:
        if code == contract.CODE_RESET:
            counted.unanswered(kind, code)
        else:
            counted.answered(kind, code, 0.01)
            counted.predicted(kind, [0.3])
    page = pods.parse(counted.render().decode(), TARGET)
    assert page is not None
    assert page.requests == {
        kind: dict(Counter(code for k, code in answers if k == kind))
        for kind in {kind for kind, _ in answers}
    }


def test_the_format_is_read_and_odd_names_do_not_disturb() -> None:
    counted = counters(model='a "quoted" \\ name', version="12")
    counted.know_model(form="Skops", provenance="Verified")
    counted.saw_unknown('evil"} 7\nlinnet_requests_total{kind="weighted",code="500"} 999')
    counted.answered(contract.KIND_WEIGHTED, "200", 0.01)
    page = pods.parse(counted.render().decode(), TARGET)
    assert page is not None
    assert page.format == "Skops"
    assert page.requests == {contract.KIND_WEIGHTED: {"200": 1}}


def test_a_page_of_something_else_is_no_page() -> None:
    assert pods.parse("<html>hello</html>", TARGET) is None
    assert pods.parse("", TARGET) is None


def test_what_was_compared_is_read_by_revision_metric_and_result() -> None:
    counted = counters()
    for agrees in (True, True, False):
        counted.copied("delays-v2-11111111", contract.COPY_COMPARED)
        counted.compared("delays-v2-11111111", agrees=agrees)
    page = pods.parse(counted.render().decode(), TARGET)
    assert page is not None
    assert page.outcomes == {"delays-v2-11111111": {"disagreement": {"bad": 1, "ok": 2}}}
    assert page.differences == {}


def test_pairs_of_scores_are_read_by_difference() -> None:
    text = (
        'linnet_pair_scores_total{revision="b",difference="-0.05"} 3\n'
        'linnet_pair_scores_total{revision="b",difference="0.10"} 2\n'
        'linnet_pair_scores_total{revision="b",difference="0.07"} 9\n'
        "process_start_time_seconds 1.5\n"
    )
    page = pods.parse(text, TARGET)
    assert page is not None
    counts = dict(zip(contract.PAIR_DIFFERENCES, page.differences["b"], strict=True))
    assert {name: count for name, count in counts.items() if count} == {"-0.05": 3, "0.10": 2}
