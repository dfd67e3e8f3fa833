"""The contract with the operator."""

import subprocess
import sys
from pathlib import Path

import pytest
from linnet_server import contract


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("200", False),
        ("404", False),
        ("413", False),
        ("400", True),
        ("422", True),
        ("500", True),
        ("503", True),
        ("reset", True),
        ("timeout", True),
    ],
)
def test_the_default_list_says_what_is_bad(code: str, bad: bool) -> None:
    assert contract.is_bad(code) is bad


@pytest.mark.parametrize(
    ("code", "bad", "expected"),
    [
        ("404", ("4xx",), True),
        ("500", ("4xx",), False),
        ("503", ("503",), True),
        ("500", ("503",), False),
        ("reset", ("5xx", "Timeout"), False),
        ("timeout", ("5xx", "Timeout"), True),
    ],
)
def test_a_list_of_ones_own_says_what_is_bad(
    code: str, bad: tuple[str, ...], expected: bool
) -> None:
    assert contract.is_bad(code, bad) is expected


def test_latency_edges_grow_by_a_fifth_from_one_millisecond() -> None:
    assert len(contract.LATENCY_EDGES) == 57
    assert contract.LATENCY_EDGES[0] == 0.001
    assert contract.LATENCY_EDGES[-1] == pytest.approx(0.001 * 1.2**56)


def test_every_exit_code_that_rejects_has_a_reason() -> None:
    assert set(contract.REASON_BY_EXIT_CODE) > contract.REJECTING_EXIT_CODES
    waiting = set(contract.REASON_BY_EXIT_CODE) - contract.REJECTING_EXIT_CODES
    assert waiting == {20, 21, 22}


def test_the_contract_imports_nothing_but_the_standard_library() -> None:
    code = (
        "import sys, linnet_server.contract; "
        "names = {name.split('.')[0] for name in sys.modules}; "
        "print(sorted(names - set(sys.stdlib_module_names) - {'__main__'}))"
    )
    path = str(Path(contract.__file__).parents[1])
    output = subprocess.check_output([sys.executable, "-S", "-c", code], env={"PYTHONPATH": path})
    assert output.decode().strip() == "['linnet_server']"
