"""What a window's rows count up to: the server's scores, in memory that does not grow with them."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from linnet_monitor import quality, window
from linnet_monitor import reference as references
from linnet_monitor import spec as specs
from linnet_monitor.reference import SCORE, Reference
from linnet_monitor.window import Span, Tally
from linnet_server import fetch
from linnet_server import model as served
from linnet_trainer import tables
from linnet_trainer.registry import Run
from trainer.world import make_table, merge

from monitor.conftest import BASE, Checks


def load(checks: Checks) -> Reference:
    document = {"specHash": "", "namespace": "team", "name": "policy", "policyUID": "", "slot": ""}
    spec = specs.parse({**document, "spec": merge({**BASE, "model": dict(checks.model)}, {})})
    run = Run(experiment="team/window", name="", identity={}, tags={})
    return references.load(spec, run, checks.folder)


def tally(reference: Reference, uri: str) -> Tally:
    opened = tables.open_table(tables.Source(uri=uri, timestamp="at"))
    return window.tally(opened, reference, known=quality.known_texts(reference), scored=True)


def test_scores_are_those_that_the_server_gives(checks: Checks) -> None:
    reference, rows = load(checks), checks.live()
    folder = checks.folder / "served"
    fetch.fetch(
        fetch.Wish(
            name="delays", version=checks.model["version"], uri=checks.model["artifactURI"],
            digest=checks.model["digest"].removeprefix("sha256:"), content="", data="", run="",
            required=True, formats=("Skops",), target=folder,
        )
    )  # fmt: skip
    model = served.load(folder)
    found = tally(reference, checks.write(rows)).sample
    cells = found[[column.name for column in model.columns]].astype(object)
    answers = model.predict(cells.where(cells.notna(), None).to_numpy().tolist())
    assert answers.probabilities is not None
    theirs = np.asarray(answers.probabilities)[:, model.positive]
    np.testing.assert_allclose(found[SCORE], theirs, rtol=0, atol=1e-12)
    assert len(found) == len(rows)


def test_memory_does_not_grow_with_the_rows(checks: Checks) -> None:
    reference = load(checks)
    batch = make_table(days=60, rows_a_day=1_000)
    peaks = {}
    for copies in (4, 16):
        uri = checks.write(pd.concat([batch] * copies), f"{copies}.parquet")
        tracemalloc.start()
        found = tally(reference, uri)
        _, peaks[copies] = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found.rows == copies * len(batch)
        assert len(found.sample) == window.SAMPLE
        assert found.scores.sum() == found.rows
    assert peaks[16] < 1.2 * peaks[4]


def test_the_sample_is_drawn_from_all_rows_alike(checks: Checks, tmp_path: Path) -> None:
    table = make_table(days=60, rows_a_day=1_000).assign(x=lambda t: np.arange(len(t)))
    found = tally(load(checks), checks.write(table))
    thirds = np.histogram(found.sample["x"], bins=3)[0]
    assert len(found.sample["x"].unique()) == window.SAMPLE
    np.testing.assert_allclose(thirds, window.SAMPLE / 3, rtol=0.03)


def test_a_window_touches_every_day_of_utc_that_it_has_rows_of() -> None:
    zone = ZoneInfo("America/New_York")
    span = window.span(datetime(2026, 6, 3, 12, tzinfo=UTC), None, days=2, zone=zone)
    assert span.dates == {date(2026, 6, 1), date(2026, 6, 2), date(2026, 6, 3)}
    whole = Span(start=datetime(2026, 6, 1, tzinfo=UTC), until=datetime(2026, 6, 3, tzinfo=UTC))
    assert whole.dates == {date(2026, 6, 1), date(2026, 6, 2)}
