"""`linnet-monitor check`: one check of one DriftPolicy, from spec.json to the document."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from linnet_trainer import pod

from linnet_monitor import contract
from linnet_monitor import spec as specs
from linnet_monitor.contract import Check, Exit, Outcome, Reason
from linnet_monitor.errors import Failure

if TYPE_CHECKING:
    from linnet_trainer.registry import Run


def main() -> int:
    """Run the program that the first argument names."""
    if sys.argv[1:] != ["check"]:
        print("usage: linnet-monitor check", file=sys.stderr)
        return int(Exit.ERROR)
    # The next pod of the Job goes on with the same run: nothing is to be saved.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(Exit.TERMINATED))
    return int(check(os.environ))


def check(environ: Mapping[str, str]) -> Exit:
    """Check as the environment says; write the document and return the exit code."""
    document: Mapping[str, object] = {}
    tracked: Run | None = None
    try:
        document = _read_spec(environ)
        spec = specs.parse(document)
        from linnet_trainer import registry

        registry.prepare_environment()
        say(f"linnet-monitor: {spec.namespace}/{spec.name}, slot {spec.slot}")
        tracked = _open_run(spec)
        result = _adopt(tracked) or replace(_check(spec, tracked, environ), run_id=tracked.run_id)
        _record(result, tracked)
        _write(result, environ)
        return result.exit
    except Failure as error:
        result = _failed(error.reason, error.message, document)
        with suppress(Exception):
            if tracked is not None:
                result = replace(result, run_id=tracked.run_id)
                _record(result, tracked)
        _write(result, environ)
        return Exit.ERROR
    except Exception as error:
        return _try_again(error, document, environ)


def _try_again(
    error: Exception, document: Mapping[str, object], environ: Mapping[str, str]
) -> Exit:
    """Leave words for the case that no try is left, and ask for another."""
    from linnet_trainer.errors import Unavailable

    if isinstance(error, Unavailable):
        _write(_failed(Reason.SOURCE_UNAVAILABLE, str(error), document), environ)
    else:
        traceback.print_exc()
        words = f"the check failed: {type(error).__name__}: {error}"
        _write(_failed(Reason.CHECK_FAILED, words, document), environ)
    return Exit.RETRY


def _read_spec(environ: Mapping[str, str]) -> Mapping[str, object]:
    try:
        return pod.read_spec(environ)
    except ValueError as error:
        raise Failure(Reason.CHECK_FAILED, str(error)) from error


def _open_run(spec: specs.Spec) -> Run:
    from linnet_trainer.registry import Run

    tracked = Run(
        experiment=spec.experiment,
        name=spec.slot,
        identity={
            contract.TAG_NAMESPACE: spec.namespace,
            contract.TAG_NAME: spec.name,
            contract.TAG_SPEC_HASH: spec.spec_hash,
        },
        tags={"mlflow.source.name": "linnet-monitor"},
    )
    tracked.open_run()
    return tracked


def _adopt(tracked: Run) -> Check | None:
    """The document that an earlier pod of this check has recorded."""
    text = tracked.tag(contract.TAG_RESULT)
    if not text:
        return None
    say("this check has ended before: its document is written again")
    return contract.parse(text)


def _check(spec: specs.Spec, tracked: Run, environ: Mapping[str, str]) -> Check:
    from linnet_monitor.check import run

    with pod.scratch(environ) as folder:
        return run(spec, tracked, folder)


def _record(result: Check, tracked: Run) -> None:
    """Write the document where it lasts, then end the run."""
    text = contract.render(result)
    tracked.log_text(text, "result.json")
    tracked.set_tags({contract.TAG_RESULT: text})
    tracked.close_run("FAILED" if result.exit is Exit.ERROR else "FINISHED")


def _failed(reason: Reason, message: str, document: Mapping[str, object]) -> Check:
    return Check(
        spec_hash=str(document.get("specHash", "")),
        policy_uid=str(document.get("policyUID", "")),
        slot=str(document.get("slot", "")),
        outcome=Outcome.ERROR,
        reason=reason,
        message=message,
    )


def _write(result: Check, environ: Mapping[str, str]) -> None:
    say(f"{result.outcome}: {result.message}")
    problem = pod.leave(contract.render(result), environ)
    if problem:
        say(problem)


def say(line: str) -> None:
    """Print one line of the pod's log."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
