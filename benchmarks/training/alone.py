"""A search by Optuna alone: one of N processes on one study in a journal file, no MLflow.

`python alone.py <table> <trials> <journal> <folds>`: fits as the trainer's trials do, and tells
each trial that has ended.
"""

from __future__ import annotations

import sys

import optuna
import pandas as pd
from optuna.storages.journal import JournalFileBackend
from sklearn.model_selection import TimeSeriesSplit, cross_val_score

from benchmarks.training.plain import make, say
from benchmarks.training.table import NUMBERS, TARGET, TEXTS, TIME


def main(path: str, trials: int, journal: str, folds: int) -> None:
    """Try trials until the study has so many."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = pd.read_parquet(path).sort_values(TIME)[: int(0.8 * len(pd.read_parquet(path)))]
    inputs, target = table[NUMBERS + TEXTS], table[TARGET]
    storage = optuna.storages.JournalStorage(JournalFileBackend(journal))
    study = optuna.create_study(
        study_name="alone", storage=storage, sampler=optuna.samplers.RandomSampler(),
        direction="maximize", load_if_exists=True,
    )  # fmt: skip

    def objective(trial: optuna.Trial) -> float:
        model = make("LogisticRegression")
        model.set_params(model__C=trial.suggest_float("C", 0.01, 10, log=True))
        cut = TimeSeriesSplit(folds)
        found = cross_val_score(model, inputs, target, cv=cut, scoring="roc_auc").mean()
        say(f"trial {trial.number} Complete: {found:.4f}")
        return float(found)

    enough = optuna.study.MaxTrialsCallback(trials, states=(optuna.trial.TrialState.COMPLETE,))
    study.optimize(objective, callbacks=[enough])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
