"""What must hold of the tree itself.

`operator/` is a folder of the repository and no package: the standard library has a module of that
name, which a package here would replace for everything that runs from the checkout's root.
"""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from linnet.api.reasons import MEANING, Reason

ROOT = Path(__file__).parent.parent
SOURCES = ("operator/linnet", "trainer/linnet_trainer", "server/linnet_server", "monitor")


def tracked() -> list[Path]:
    """Files of the repository, as git knows them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def modules() -> list[Path]:
    return [path for source in SOURCES for path in sorted((ROOT / source).rglob("*.py"))]


def test_operator_is_no_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize("folder", SOURCES)
def test_every_module_says_what_it_is(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths, f"{folder} holds no module"
    silent = [str(path.relative_to(ROOT)) for path in paths if _docstring(path) is None]
    assert silent == []


def test_every_test_module_says_what_it_is() -> None:
    paths = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path.stat().st_size]
    assert [str(p.relative_to(ROOT)) for p in paths if _docstring(p) is None] == []


def _docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text()))


def test_no_file_names_a_package_index() -> None:
    # Indexes, mirrors and proxies are the business of the machine that builds, not of the tree.
    hosts = [
        "pypi" + ".org",
        "python" + "hosted.org",
        "proxy." + "golang.org",
        "sum." + "golang.org",
        "registry." + "npmjs",
        "index." + "crates",
        "deb." + "debian.org",
        "archive." + "ubuntu.com",
    ]
    pattern = re.compile("|".join(re.escape(host) for host in hosts))
    found = []
    for path in tracked():
        if not path.is_file() or path.suffix in {".png", ".parquet", ".sum"}:
            continue
        text = path.read_bytes().decode(errors="ignore")
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_every_reason_means_something_and_is_used_by_its_name() -> None:
    assert set(MEANING) == set(Reason)
    assert all(meaning.strip().endswith(".") for meaning in MEANING.values())


def test_every_reason_that_code_names_exists() -> None:
    names = {reason.name for reason in Reason}
    unknown = set()
    for path in modules():
        if "linnet_" in str(path):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "Reason"
            )
            if named and node.attr.isupper() and node.attr not in names:  # type: ignore[attr-defined]
                unknown.add(f"{path.name}: {node.attr}")  # type: ignore[attr-defined]
    assert unknown == set()


def test_reasons_of_pods_are_reasons_of_the_operator() -> None:
    from linnet_server import contract as server
    from linnet_trainer import contract as trainer

    values = {reason.value for reason in Reason}
    assert {str(reason) for reason in server.REASON_BY_EXIT_CODE.values()} <= values
    assert {reason.value for reason in trainer.Reason} <= values
