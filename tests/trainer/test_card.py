"""The model card: every line of the checklist, the plots, and other runs of the model beside."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from linnet_trainer import card, plots
from linnet_trainer.card import Section
from linnet_trainer.targets import Kind

from trainer.world import World


def stored(world: World, run_id: str, path: str) -> str:
    return Path(world.client.download_artifacts(run_id, path)).read_text()


QUESTIONS = [
    "Tracking configured",
    "All hyper-parameters logged",
    "Metrics per run",
    "Best model in the registry",
    "Feature store",
    "Train/serve consistency",
    "Point in time",
    "Documentation",
    "Cross-validation",
    "Stratification, or its reason",
    "Search",
    "Pipeline",
    "Versioned",
    "A/B possible",
    "Drift monitored",
    "Rollback possible",
]
"""The checklist of good practice, as the model card of every version answers it."""


def test_the_card_answers_the_checklist_draws_plots_and_sets_runs_side_by_side(
    world: World, flights: pd.DataFrame
) -> None:
    uri = world.write(flights)
    _, first = world.run(uri, {"seed": 1}, job="first")
    world.crown(first.version)
    stronger = {"pipeline": {"estimator": {"parameters": {"C": 0.01}}}}
    _, second = world.run(uri, stronger, job="second")

    text = stored(world, second.run_id, "model-card.md")
    answers = dict(re.findall(r"^\| ([A-Z][^|]*) \| (.*) \|$", text, re.MULTILINE))
    assert all(answers[question] for question in QUESTIONS)
    assert answers["Best model in the registry"].startswith("yes: model `delays`")
    assert answers["Search"].startswith("no: ")
    assert "the same fitted values" in answers["Reproducible"]
    assert "|  | this run | champion (version 1) |" in text, "the champion's run is told once"
    assert "| estimator.C | 0.01 |  |" in text
    assert "| seed | 0 | 1 |" in text
    assert "validation.folds" not in text.split("## Beside")[1], "what is the same is not told"

    drawn = {
        Path(artifact.path).stem for artifact in world.client.list_artifacts(second.run_id, "plots")
    }
    assert drawn == set(plots.PLOTS[Kind.BINARY])
    page = stored(world, second.run_id, "model-card.html")
    assert page.count("data:image/png;base64,") == len(plots.PLOTS[Kind.BINARY])
    assert first.message in stored(world, first.run_id, "model-card.md")
    assert "This is the first run" in stored(world, first.run_id, "model-card.md")


def test_what_a_table_says_cannot_break_the_card() -> None:
    sections = [Section(title="T", head=("a|b",), rows=(("<script>\n|",),), plots=("p",))]

    assert card.markdown("m", sections).splitlines()[4:7] == [
        "| a\\|b |",
        "| --- |",
        "| <script> \\| |",
    ]
    page = card.page("<m>", sections, {"p": b"png"})
    assert "<script>" not in page
    assert "&lt;m&gt;" in page
