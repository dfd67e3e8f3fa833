"""`linnet-trainer run`: one job from its spec to a result document, again and again if need be.

The order is what makes a pod replaceable at any point: find the run, adopt a result that is there;
else train, upload, judge; record the verdict; create the version that the verdict asks for (found
by the job's uid where it exists); write the result. A version never exists without a verdict.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from linnet_trainer import contract, pod, progress
from linnet_trainer.contract import Exit, Reason, Result
from linnet_trainer.errors import Refusal, Unavailable
from linnet_trainer.progress import say

if TYPE_CHECKING:
    from linnet_trainer.recipe import Recipe
    from linnet_trainer.registry import Tracker


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code of the contract."""
    parser = argparse.ArgumentParser(prog="linnet-trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="train as the spec says and write the result document")
    commands.add_parser("features", help="serve the features of a feature service to a server")
    if parser.parse_args(arguments).command == "features":
        from linnet_trainer import online

        return int(online.main(os.environ))
    found: list[Tracker] = []
    _watch_for_termination(found)
    return int(run(os.environ, found))


def run(environ: Mapping[str, str], found: list[Tracker] | None = None) -> Exit:
    """Run one job to its end; put the tracker into `found` as soon as there is one."""
    document: Mapping[str, object] = {}
    tracker: Tracker | None = None
    try:
        document = _read_spec(environ)
        from linnet_trainer import recipe as recipes

        recipe = recipes.parse(document, environ=environ)
        from linnet_trainer import registry

        registry.prepare_environment()
        if index := pod.index(environ):
            return _assist(recipe, environ, index)
        say(f"linnet-trainer: {recipe.namespace}/{recipe.name} for model '{recipe.model}'")
        tracker = registry.Tracker(recipe)
        if found is not None:
            found.append(tracker)
        tracker.open_run()
        say(f"run {tracker.run_id} in experiment '{recipe.experiment}'")
        result = _adopt(tracker)
        if result is None:
            from linnet_trainer import train

            try:
                result = train.resume(recipe, tracker) or _train(recipe, tracker, environ)
            except Refusal as error:
                result = _error(error, document, environ, tracker.run_id)
            _record(result, tracker)
        _write(result, environ)
        return result.exit
    except Refusal as error:
        # Nothing to record it in: the spec itself cannot be read.
        _write(_error(error, document, environ), environ)
        return Exit.ERROR
    except Unavailable as error:
        say(f"will be tried again: {error}")
        _close(tracker, "KILLED")
        return Exit.RETRY
    except Exception as error:
        traceback.print_exc()
        say(f"the trainer failed: {type(error).__name__}: {error}")
        _close(tracker, "FAILED")
        return Exit.RETRY


def _read_spec(environ: Mapping[str, str]) -> Mapping[str, object]:
    try:
        return pod.read_spec(environ)
    except ValueError as error:
        raise Refusal(Reason.TRAINER_FAILED, str(error)) from error


def _adopt(tracker: Tracker) -> Result | None:
    """Return the result that an earlier pod of this job has recorded."""
    text = tracker.tag(contract.TAG_RESULT)
    if not text:
        return None
    say("this job has finished before: its result is written again")
    return contract.parse(text)


def _train(recipe: Recipe, tracker: Tracker, environ: Mapping[str, str]) -> Result:
    from linnet_trainer import train
    from linnet_trainer.recipe import Task

    with pod.scratch(environ) as folder:
        if recipe.task is Task.CLUSTERING:
            from linnet_trainer import clusters

            return clusters.train_clusters(recipe, tracker, folder)
        url = environ.get(contract.ENV_STUDY_URL, "")
        return train.train(recipe, tracker, folder, study_url=url)


def _assist(recipe: Recipe, environ: Mapping[str, str], index: int) -> Exit:
    """Take part in the search of pod 0, which alone makes the result.

    What no other try mends is met by pod 0 too, and told there.
    """
    from linnet_trainer import registry, study, train

    say(f"linnet-trainer: pod {index} of the search of {recipe.namespace}/{recipe.name}")
    tracker = registry.Tracker(recipe)
    try:
        if not study.await_begin(tracker):
            url = environ.get(contract.ENV_STUDY_URL, "")
            train.assist(recipe, tracker, study_url=url, pod=index)
    except Refusal as error:
        say(f"this pod leaves the search: {error.message}")
    return Exit.RESULT


def _record(result: Result, tracker: Tracker) -> None:
    """Write the result where it lasts, then end the run."""
    text = contract.render(result)
    tracker.log_text(text, "result.json")
    tags = {contract.TAG_RESULT: text}
    if result.outcome is not contract.Outcome.ERROR:
        passed = result.outcome is contract.Outcome.PASSED
        stage = contract.Stage.REGISTERING if passed else contract.Stage.EVALUATING
        tags[contract.TAG_PROGRESS] = progress.render(stage, 100, result.message)
    tracker.set_tags(tags)
    tracker.close_run("FAILED" if result.exit is Exit.ERROR else "FINISHED")


def _write(result: Result, environ: Mapping[str, str]) -> None:
    version = f" (version {result.version})" if result.version else ""
    say(f"{result.outcome}: {result.message}{version}")
    problem = pod.leave(contract.render(result), environ)
    if problem:
        say(problem)


def _error(
    error: Refusal, document: Mapping[str, object], environ: Mapping[str, str], run_id: str = ""
) -> Result:
    return Result(
        spec_hash=str(document.get("specHash") or environ.get(contract.ENV_SPEC_HASH, "")),
        job_uid=str(document.get("jobUID") or environ.get(contract.ENV_JOB_UID, "")),
        run_id=run_id,
        outcome=contract.Outcome.ERROR,
        reason=error.reason,
        message=error.message,
    )


def _close(tracker: Tracker | None, status: str) -> None:
    """End the run as far as the registry answers; the next pod of the job resumes it."""
    if tracker is not None:
        with suppress(Exception):
            tracker.close_run(status)


def _watch_for_termination(found: list[Tracker]) -> None:
    """Start a thread that ends the process on SIGTERM.

    Python runs a signal's handler when the main thread comes back from compiled code, which for a
    fit may be after the grace period. The wake-up descriptor is written at once, in any thread.
    """
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    threading.Thread(target=_await_termination, args=(receiver, found), daemon=True).start()


def _await_termination(receiver: int, found: list[Tracker]) -> None:
    """On SIGTERM mark the run as killed, so that it does not look alive for ever, and leave."""
    while os.read(receiver, 1)[0] != signal.SIGTERM:
        continue
    say("terminated: the next pod of this job goes on with the same run")
    if found and not found[0].tag(contract.TAG_RESULT):
        _close(found[0], "KILLED")
    os._exit(Exit.TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
