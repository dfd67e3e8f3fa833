"""A pipeline from the user's own code: a file of a ConfigMap with a function that returns it.

The code runs in the trainer's process, with what that may do. Three things are kept from going
wrong unseen: it may not run for ever before a fit, what it raises is told with its line, and the
values of variables that look like secrets are blotted out of everything that is printed.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import sys
import threading
import traceback
import types
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from linnet_trainer import contract
from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal, Unavailable

SECONDS = 60.0
"""How long a module may take to be imported and to return its estimator."""

_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|CREDENTIAL|STUDY_URL")
_LEAST = 6
"""Shorter values are words of their own: blotting them out would blot out the log."""
_RUN = "MLFLOW_RUN_ID"
"""MLflow's own, which code that starts a run by itself finds too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """Where the code is, and its entry point."""

    config_map: str
    key: str
    entry: str

    @property
    def told(self) -> str:
        """The module in words."""
        return f"'{self.key}' of ConfigMap '{self.config_map}'"


def source(module: Module) -> str:
    """Return the code.

    Raises:
        Refusal: the ConfigMap or its key is missing.
    """
    try:
        return Path(os.environ.get(contract.ENV_MODULE, contract.MODULE_PATH)).read_text("utf-8")
    except (OSError, ValueError):
        raise _refusal(
            f"`module.configMapName`, `module.key`: {module.told} cannot be read: create it in the "
            "namespace of this TrainingJob"
        ) from None


def digest(module: Module) -> str:
    """Return the sha256 of the code."""
    return f"sha256:{hashlib.sha256(source(module).encode()).hexdigest()}"


def belong_to(run_id: str) -> None:
    """Keep what the code asks of language models in this run; without one, keep none of it."""
    if run_id:
        os.environ[_RUN] = run_id
    else:
        os.environ["MLFLOW_TRACE_SAMPLING_RATIO"] = "0"


def make(module: Module, parameters: Mapping[str, Any], *, seed: int, method: str) -> Any:
    """Return an unfitted estimator of the module with these parameters.

    Args:
        module: where it comes from.
        parameters: what a search found.
        seed: for every `random_state` that the code left open.
        method: what it must have, `predict_proba` or `predict`.

    Raises:
        Refusal: the module raises, hangs, prints a secret, or returns something else.
        Unavailable: the registry did not answer when its traces were to be kept.
    """
    import sklearn  # The values of this file are read where nothing is fitted, too.

    estimator = sklearn.clone(_load(module, source(module), method))
    known = estimator.get_params()
    for name in parameters:
        if name not in known:
            raise _refusal(f"`search.parameters`: what `{module.entry}` returns has no '{name}'")
    open_ends = [name for name in known if re.search(r"(^|__)random_state$", name)]
    seeds = {name: seed for name in open_ends if known[name] is None}
    return estimator.set_params(**seeds, **parameters)


@functools.lru_cache(maxsize=1)
def _load(module: Module, code: str, method: str) -> Any:
    """Run the code in a thread, so that one which hangs is not waited for."""
    guards = guard()
    found: list[Any] = []
    # Here, since what it imports is not to be counted among the module's seconds.
    kept = _tracked(os.environ.pop(_RUN, ""))

    def work() -> None:
        try:
            with kept:
                made = _run(module, code)
            found.append(made)
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if not found:
        raise _refusal(
            f"`module.entry`: {module.told} did not return within {SECONDS:g} s: do the work in "
            "`fit`, not while the module is imported or the estimator is made"
        )
    if shown := sorted(set().union(*(each.shown for each in guards))):
        raise _refusal(
            f"`module`: {module.told} printed the value of {', '.join(shown)}: take that out. The "
            "log has '***' in its place"
        )
    if isinstance(found[0], Refusal | Unavailable):
        raise found[0]
    if isinstance(found[0], BaseException):
        raise _refusal(f"`module`: {module.told} {_told(module, found[0])}") from None
    _require_estimator(module, found[0], method)
    return found[0]


def _tracked(run_id: str) -> AbstractContextManager[None]:
    if not run_id:
        return nullcontext()
    from linnet_trainer import tracing  # It blots with what is defined here.

    return tracing.tracked(run_id)


def _run(module: Module, code: str) -> Any:
    made = types.ModuleType("linnet_module")
    # Where clones and workers of scikit-learn look for its classes.
    sys.modules[made.__name__] = made
    exec(compile(code, module.key, "exec"), made.__dict__)
    entry = getattr(made, module.entry, None)
    if not callable(entry):
        names = [
            name
            for name, value in vars(made).items()
            if isinstance(value, types.FunctionType) and value.__module__ == made.__name__
        ]
        raise _refusal(
            f"`module.entry`: {module.told} has no function '{module.entry}'; it has "
            f"{', '.join(names) or 'none'}"
        )
    return entry()


def _require_estimator(module: Module, found: Any, method: str) -> None:
    import sklearn

    lacking = [name for name in ("fit", "get_params", method) if not hasattr(found, name)]
    if lacking or isinstance(found, type):
        what = f"the class {found.__name__}" if isinstance(found, type) else type(found).__name__
        raise _refusal(
            f"`module.entry`: `{module.entry}` of {module.told} returns {what}"
            + (f", which has no '{lacking[0]}'" if lacking else ", not an object of it")
            + ": return an estimator of scikit-learn's kind"
        )
    try:
        sklearn.clone(found)
    except (TypeError, RuntimeError) as error:
        raise _refusal(
            f"`module.entry`: what `{module.entry}` returns cannot be cloned: "
            f"{str(error).splitlines()[0]}"
        ) from None


def _told(module: Module, error: BaseException) -> str:
    """What was raised and where, without secrets."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == module.key
    ]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    line = f" in line {lines[-1]}" if lines else ""
    text = clean(str(error))
    said = contract.cut(text.splitlines()[0], 300) if text.strip() else ""
    return f"raises {type(error).__name__}{line}" + (f": {said}" if said else "")


class Guard(io.TextIOBase):
    """A stream that blots out secrets and remembers whose they were."""

    def __init__(self, stream: TextIO, secrets: Mapping[str, str]) -> None:
        self._stream = stream
        self._secrets = dict(secrets)
        self.shown: set[str] = set()
        """Names of the variables whose values were printed."""

    def write(self, text: str) -> int:
        """Write the text without secrets."""
        clean, shown = _blot(text, self._secrets)
        self.shown |= shown
        self._stream.write(clean)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the stream's descriptor: what writes to it directly is not guarded."""
        return self._stream.fileno()


def guard() -> tuple[Guard, Guard]:
    """Guard standard output and error for the rest of the process; return the guards."""
    out = sys.stdout if isinstance(sys.stdout, Guard) else Guard(sys.stdout, _secrets())
    err = sys.stderr if isinstance(sys.stderr, Guard) else Guard(sys.stderr, _secrets())
    sys.stdout, sys.stderr = out, err
    return out, err


def clean(text: str) -> str:
    """Return a text without the values of secrets."""
    return _blot(text, _secrets())[0]


def _secrets() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if _SECRET.search(name.upper()) and len(value) >= _LEAST
    }


def _blot(text: str, secrets: Mapping[str, str]) -> tuple[str, set[str]]:
    shown = {name for name, value in secrets.items() if value in text}
    for name in shown:
        text = text.replace(secrets[name], "***")
    return text, shown


def _refusal(message: str) -> Refusal:
    return Refusal(Reason.TRAINER_FAILED, message)
