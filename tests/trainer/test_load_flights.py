"""The demo's loader: what is known before departure, and what would leak."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "demo" / "load_flights.py"


@pytest.fixture(scope="module")
def loader() -> ModuleType:
    found = importlib.util.spec_from_file_location("load_flights", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three flights from Newark, one of them cancelled, and one late on New Year's Eve."""
    flights = pd.DataFrame(
        {
            "year": 2013,
            "month": [1, 1, 1, 12],
            "day": [1, 1, 1, 31],
            "sched_dep_time": [830, 905, 910, 2359],
            "arr_delay": [16.0, 15.0, None, -5.0],
            "carrier": "UA",
            "tailnum": ["N1", "N2", "N1", "N3"],
            "origin": "EWR",
            "dest": "IAH",
            "distance": 1400,
        }
    )
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as file:
        file.writestr("flights.csv", flights.to_csv(index=False))
    weather = pd.DataFrame(
        {
            "origin": "EWR",
            "time_hour": ["2013-01-01T12:00:00Z", "2013-01-01T13:00:00Z"],
            "temp": [39.0, 40.0],
            "wind_speed": [10.0, 20.0],
            "precip": 0.0,
            "visib": 10,
        }
    )
    weather.to_csv(tmp_path / "weather.csv", index=False)
    planes = pd.DataFrame({"tailnum": ["N1", "N2"], "year": [2003, None]})
    planes.to_csv(tmp_path / "planes.csv", index=False)
    return tmp_path


def test_the_tables_hold_what_is_known_one_hour_before(
    loader: ModuleType, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = source / "out"
    assert loader.main(["--source", str(source), "--target", f"file://{target}"]) == 0
    january = {
        name: pd.read_parquet(target / name / "2013-01.parquet")
        for name in ("schedule", "weather", "planes", "replay", "records")
    }
    schedule, weather = january["schedule"], january["weather"]

    assert list(schedule["late"]) == [True, False], "more than 15 minutes; cancelled is left out"
    assert list(schedule["sched_dep"]) == [
        pd.Timestamp("2013-01-01T13:30Z"),
        pd.Timestamp("2013-01-01T14:05Z"),
    ]
    assert list(schedule["minute"]) == [510, 545]
    assert list(schedule["weekday"]) == [1, 1]
    assert list(weather["temp"]) == [39.0, 40.0], "of 12 and 13 o'clock, not of 13 and 14"
    assert list(january["planes"]["tail_number"]) == ["N1"]
    assert list(january["planes"]["plane_age"]) == [10.0]
    assert january["replay"]["plane_age"].isna().tolist() == [False, True]
    assert set(january["planes"]) == {*weather, "plane_age"}
    assert set(weather) == {*schedule, *loader.WEATHER}
    assert list(january["records"]["arr_delay"]) == [16.0, 15.0]
    assert set(january["records"]) == {*schedule, "arr_delay", "very_late"}
    observed = pd.read_parquet(target / "observations.parquet")
    assert (observed["published"] - observed["observed"]).unique() == [pd.Timedelta("51min")]
    assert set(observed) == {"origin", "observed", "published", *loader.WEATHER}
    dictionary = pd.read_csv(target / "dictionary.csv")
    assert set(dictionary["column"]) == set(schedule), "the weather's columns are not in it"
    assert dictionary["description"].notna().all()


def test_the_last_evening_of_the_year_is_december_in_every_clock(
    loader: ModuleType, source: Path
) -> None:
    target = source / "out"
    loader.main(["--source", str(source), "--target", f"file://{target}", "--months", "12"])
    december = pd.read_parquet(target / "schedule" / "2013-12.parquet")

    assert list(december["sched_dep"]) == [pd.Timestamp("2014-01-01T04:59Z")]
    assert not (target / "schedule" / "2013-01.parquet").exists()


def test_replace_leaves_nothing_of_an_earlier_load(loader: ModuleType, source: Path) -> None:
    target = source / "out"
    wanted = ["--source", str(source), "--target", f"file://{target}", "--months"]
    loader.main([*wanted, "12"])
    loader.main([*wanted, "1", "--replace"])
    assert not (target / "schedule" / "2013-12.parquet").exists()
    loader.main([*wanted, "2"])
    found = sorted(path.name for path in (target / "schedule").iterdir())
    assert found == ["2013-01.parquet", "2013-02.parquet"]
