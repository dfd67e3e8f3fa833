"""Prints the traces of a run with all their spans; runs beside MLflow, since some lie in the store.

python spans.py 20 5bf372b7d60f45389816d5d0cabc3a9c
"""

import json
import sys

from mlflow import MlflowClient


def main(experiment: str, run: str) -> None:
    """Print a list with each trace as JSON."""
    client = MlflowClient(tracking_uri="http://127.0.0.1:5000")
    found = client.search_traces(locations=[experiment], run_id=run, max_results=200)
    print(json.dumps([trace.to_json() for trace in found]))


if __name__ == "__main__":
    main(*sys.argv[1:])
