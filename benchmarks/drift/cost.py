"""What a drift check costs beside Evidently alone: `python benchmarks/drift/cost.py`.

20 columns (16 numbers, 4 categories of 8); 10k, 100k and 1M rows of a window against a reference
of 90 days. Ours: read the window in batches, count, rank, quality, and the report on a sample.
Beside it: the same files read whole and Evidently's DataDriftPreset on all rows, its HTML included.
Scoring the rows is left out: Evidently alone does not score. Each in a process of its own, in
turns, three times, imports included; medians are told. Time is CPU seconds of all threads: they
are nearly the same beside other work.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NUMBERS = [f"n{place}" for place in range(16)]
TEXTS = [f"c{place}" for place in range(4)]
SIZES = (10_000, 100_000, 1_000_000)
REFERENCE_ROWS = 90_000
REPEATS = 3


def make(rows: int, *, days: int, first: str, seed: int) -> pd.DataFrame:
    """A table of so many rows over so many days."""
    random = np.random.default_rng(seed)
    moments = np.sort(random.integers(0, days * 86_400, rows))
    table = {name: random.normal(size=rows) for name in NUMBERS}
    for name in TEXTS:
        table[name] = random.choice(np.array(list("abcdefgh"), dtype=object), rows)
    table["at"] = pd.Timestamp(first, tz="UTC") + pd.to_timedelta(moments, unit="s")
    return pd.DataFrame(table)


def write(folder: Path, rows: int) -> None:
    """The window, the reference, and the reference's profile."""
    from linnet_trainer import profile
    from linnet_trainer.data import Feature
    from linnet_trainer.targets import Target

    reference = make(REFERENCE_ROWS, days=90, first="2026-01-01", seed=1)
    reference.to_parquet(folder / "reference.parquet", index=False)
    make(rows, days=7, first="2026-06-01", seed=2).to_parquet(
        folder / "window.parquet", index=False, row_group_size=50_000
    )
    features = [Feature(name=name, type="double", source="double") for name in NUMBERS]
    features += [Feature(name=name, type="string", source="string") for name in TEXTS]
    made = profile.make(
        reference[[*NUMBERS, *TEXTS]],
        features=features,
        target=Target(classes=(False, True), type="boolean", codes=np.arange(REFERENCE_ROWS) % 2),
        score=np.full(REFERENCE_ROWS, 0.5),
        held=np.arange(REFERENCE_ROWS) >= REFERENCE_ROWS * 9 // 10,
        times=reference["at"],
        metrics={},
        seed=0,
    )
    for name, blob in made.items():
        (folder / name).write_bytes(blob)


def ours(folder: Path) -> None:
    """A check's computation on the files in `folder`."""
    from linnet_monitor import alarm, check, figures, quality, window
    from linnet_monitor import reference as references
    from linnet_monitor.spec import DataDrift, DataQuality
    from linnet_trainer import tables

    document = json.loads((folder / "profile.json").read_text())
    dates = references.calendar_of(document["days"])
    reference = references.Reference(
        version="1",
        digest="",
        dates=dates,
        start="",
        until="",
        columns=tuple(
            references.column_of(entry, references.feature_of(entry), dates)
            for entry in document["columns"]
        ),
        features=tuple(map(references.feature_of, document["columns"])),
        scores=np.zeros((len(dates), 20)),
        sample=pd.read_parquet(folder / "profile.parquet"),
        model=None,
        classes=(),
    )
    source = tables.Source(uri=f"file://{folder}/window.parquet", timestamp="at")
    opened = tables.open_table(source)
    window.extent(opened, None)
    found = window.tally(opened, reference, known=quality.known_texts(reference), scored=False)
    signal = DataDrift(name="d", columns=(), numeric="Wasserstein", categorical="JensenShannon")
    judged = check.columns_of(signal, reference, found)
    alarm.rank(
        [each.series for each in judged],
        dates=dates,
        length=7,
        alpha=0.05,
    )
    quality.shares(
        DataQuality(name="q", missing=None, out_of_range=None, new_categories=None),
        reference,
        found,
    )
    report = figures.draw(
        reference, found.sample, {each.series.name: each.method for each in judged}
    )
    assert report is not None


def evidently(folder: Path) -> None:
    """Evidently alone, on all rows."""
    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=NUMBERS, categorical_columns=TEXTS)
    both = [
        Dataset.from_pandas(
            pd.read_parquet(folder / name, columns=[*NUMBERS, *TEXTS]), data_definition=definition
        )
        for name in ("window.parquet", "reference.parquet")
    ]
    preset = DataDriftPreset(num_method="wasserstein", cat_method="jensenshannon")
    snapshot = Report([preset]).run(*both)
    assert snapshot.get_html_str(as_iframe=False)


def measure(program: str, folder: Path) -> tuple[float, float]:
    """Run one of the two in a process of its own; CPU seconds and MiB."""
    command = [sys.executable, __file__, program, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, kib = done.stdout.strip().splitlines()[-1].split()
    return float(seconds), float(kib) / 1024


def peak() -> int:
    """KiB of memory that this process had at most.

    Not `ru_maxrss`: it outlives `exec`, so a child tells its parent's peak where that is more.
    """
    [found] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found)


def line(rows: int) -> str:
    """Measure one size; a line of the table."""
    runs: dict[str, list[tuple[float, float]]] = {"ours": [], "evidently": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, rows)
        for _ in range(REPEATS):
            for program, found in runs.items():
                found.append(measure(program, folder))
    (seconds, mib), (their_seconds, their_mib) = (
        tuple(statistics.median(column) for column in zip(*found, strict=True))
        for found in runs.values()
    )
    return (
        f"{rows:9,}  {seconds:6.1f} s {mib:5.0f} MiB  {their_seconds:6.1f} s {their_mib:5.0f} MiB"
        f"  {seconds / their_seconds:6.2f}  {mib / their_mib:6.2f}"
    )


def main() -> None:
    """Print one line per size."""
    if len(sys.argv) == 3:
        program: Any = {"ours": ours, "evidently": evidently}[sys.argv[1]]
        program(Path(sys.argv[2]))
        print(time.process_time(), peak())
        return
    print(f"{'rows':>9}  {'ours':>18}  {'Evidently alone':>18}  {'time':>6}  {'memory':>6}")
    for rows in SIZES:
        print(line(rows), flush=True)


if __name__ == "__main__":
    main()
