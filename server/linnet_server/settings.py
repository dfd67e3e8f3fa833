"""The settings of `linnet-server serve`, read from the environment of the contract."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from linnet_server import contract


class InvalidSetting(ValueError):
    """A variable has a value without sense; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one server process was told; times in seconds."""

    folder: Path
    name: str
    version: str
    revision: str
    max_request_bytes: int
    drain_timeout: float
    drain_delay: float
    port_base: int
    shadow_file: Path
    features_url: str
    features_timeout: float


def parse(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raise InvalidSetting."""
    workers = environment.get(contract.ENV_WORKERS, "").strip() or "1"
    if workers != "1":
        raise InvalidSetting(
            f"`{contract.ENV_WORKERS}` must be 1, not '{workers}': "
            "several processes in a pod are not supported yet"
        )
    for name in (contract.ENV_MODEL_NAME, contract.ENV_MODEL_VERSION):
        if not environment.get(name):
            raise InvalidSetting(f"`{name}` must be set")
    return Settings(
        folder=Path(environment.get(contract.ENV_MODEL_DIR) or contract.DEFAULT_MODEL_DIR),
        name=environment[contract.ENV_MODEL_NAME],
        version=environment[contract.ENV_MODEL_VERSION],
        revision=environment.get(contract.ENV_REVISION, ""),
        max_request_bytes=_integer(
            environment, contract.ENV_MAX_REQUEST_BYTES, contract.DEFAULT_MAX_REQUEST_BYTES
        ),
        drain_timeout=_seconds(
            environment, contract.ENV_DRAIN_TIMEOUT, contract.DEFAULT_DRAIN_TIMEOUT_SECONDS
        ),
        drain_delay=_seconds(
            environment, contract.ENV_DRAIN_DELAY, contract.DEFAULT_DRAIN_DELAY_SECONDS
        ),
        port_base=_integer(environment, contract.ENV_PORT_BASE, contract.PORT_WEIGHTED),
        shadow_file=Path(environment.get(contract.ENV_SHADOW_FILE) or contract.DEFAULT_SHADOW_FILE),
        features_url=environment.get(contract.ENV_FEATURES_URL, ""),
        features_timeout=_seconds(
            environment, contract.ENV_FEATURES_TIMEOUT, contract.DEFAULT_FEATURES_TIMEOUT_SECONDS
        ),
    )


def _integer(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,12}", text) or int(text) == 0:
        raise InvalidSetting(f"`{name}` must be a positive integer, not '{text}'")
    return int(text)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "").strip()
    if not text:
        return default
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidSetting(f"`{name}` must be a duration such as '15s', not '{text}'")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
