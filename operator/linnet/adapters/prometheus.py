"""Prometheus over its HTTP API: instant queries, and nothing else."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import aiohttp

from linnet.ports import Rejected, Unavailable

QUERY_PATH = "/api/v1/query"
LARGEST_ANSWER = 4 * 1024 * 1024
LONGEST_PROBLEM = 300
_AT_FAULT = frozenset({"bad_data", "execution"})
"""Kinds of error that another try of the same query does not mend."""


class Prometheus:
    """The `QuerySource` port, bounded in time and number.

    `url` may have a path, and a user with a password; an answer that is larger than four mebibytes
    is refused.
    """

    def __init__(self, url: str, *, timeout: timedelta, concurrency: int) -> None:
        self._url = url.rstrip("/") + QUERY_PATH
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds())
        self._limit = asyncio.Semaphore(concurrency)
        self._session: aiohttp.ClientSession | None = None
        self.count: Callable[[str], None] = lambda outcome: None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def query(self, text: str) -> Mapping[str, float]:
        """The present value of every series; raises Unavailable, Rejected."""
        try:
            values = _values(await self._ask(text))
        except (Unavailable, Rejected):
            self.count("failed")
            raise
        self.count("ok")
        return values

    async def _ask(self, text: str) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        async with self._limit:
            try:
                # A query may be longer than what a URL holds.
                async with self._session.post(self._url, data={"query": text}) as response:
                    raw = await _whole(response)
                    status = response.status
            except TimeoutError as error:
                raise Unavailable("Prometheus did not answer in time") from error
            except (aiohttp.ClientError, OSError) as error:
                raise Unavailable(f"Prometheus cannot be reached: {error}") from error
        try:
            return _data(json.loads(raw), status)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable(
                f"what LINNET_PROMETHEUS_URL names does not answer as Prometheus (HTTP {status})"
            ) from error


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for part in response.content.iter_chunked(65536):
        raw += part
        if len(raw) > LARGEST_ANSWER:
            raise Rejected("the query returns too much: sum over what need not be told apart")
    return bytes(raw)


def _data(answer: Mapping[str, Any], status: int) -> Any:
    """The data of an answer, or the error that it tells."""
    if answer["status"] == "success":
        return answer["data"]
    problem = str(answer.get("error", ""))[:LONGEST_PROBLEM]
    if answer.get("errorType") in _AT_FAULT:
        raise Rejected(f"Prometheus refuses the query: {problem}")
    raise Unavailable(f"Prometheus answers HTTP {status}: {problem}")


def _values(data: Mapping[str, Any]) -> dict[str, float]:
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        found = {"": float(result[1])}
    elif kind == "vector":
        found = {
            _name(each["metric"]): float(each["value"][1]) for each in result if "value" in each
        }
    else:
        raise Rejected(f"the query must return an instant vector, it returns a {kind}")
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _name(labels: Mapping[str, str]) -> str:
    """The labels of a series in one form, whatever their order."""
    return json.dumps(dict(sorted(labels.items())), separators=(",", ":"))
