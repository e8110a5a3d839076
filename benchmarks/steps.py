"""`python -P benchmarks/steps.py STEP...`: runs jobs in one process, as a worker does.

A step is the id of a job, or `now=TIME`, which moves the simulated exchanges' clock. Rate limits
are not waited for, so it is for simulated exchanges without limits. The last line tells as JSON
what each job took: CPU, time, and the bytes that the store appended to its file. It runs on the
code of PYTHONPATH, which may be an earlier release.
"""

import asyncio
import json
import sys
import time
import urllib.request
from dataclasses import replace
from typing import Any, Final

import uvloop

from budgets.exchange_client import ExchangeClient
from budgets.rate_limits import RateLimits
from commands.composition import open_parts
from commands.foreground import run_here
from commands.runtime import prepare, tune_garbage_collection
from config import Settings, load_settings
from data_collector import LastAsOf
from documents.kept import KeptDocuments
from jobs.context import JobContext
from logging_setup import configure_logging
from stores.hot.store import HotStore

_TIMES_THE_LIMIT: Final = 1000.0
_DEADLINE_S: Final = 30.0


async def run(settings: Settings, steps: list[str]) -> list[dict[str, Any]]:
    """Runs the steps; what each job took. Raises RuntimeError if one does not complete."""
    prepare()
    tune_garbage_collection()
    found = []
    async with (
        open_parts(settings, "benchmarks") as parts,
        ExchangeClient(settings, limits=RateLimits(_TIMES_THE_LIMIT)) as client,
    ):
        kept = KeptDocuments(settings.worker_memory_mb)
        context = JobContext(
            settings, parts.store, parts.cache, parts.queue, parts.database, client, kept
        )
        for step in steps:
            if step.startswith("now="):
                await asyncio.to_thread(_move, settings.exchange_addresses()["binance"], step[4:])
                # It would still reckon with the time before, for a minute.
                context = replace(context, last_as_of=LastAsOf())
                continue
            before_bytes = await _appended(parts.store)
            began_s, began_cpu_s = time.monotonic(), time.process_time()
            code = await run_here(
                context, step, holder="benchmarks", wait=True, stop=asyncio.Event()
            )
            if code != 0:
                raise RuntimeError(f"{step} ended {code}")
            found.append(
                {
                    "job": step,
                    "cpu_s": time.process_time() - began_cpu_s,
                    "wall_s": time.monotonic() - began_s,
                    "bytes": await _appended(parts.store) - before_bytes,
                }
            )
    return found


def _move(address: str, now: str) -> None:
    body = json.dumps({"now": now}).encode()
    request = urllib.request.Request(f"{address}/sim/clock", body)  # noqa: S310 - our simulator
    with urllib.request.urlopen(request, timeout=_DEADLINE_S) as answer:  # noqa: S310 - the same
        answer.read()


async def _appended(store: HotStore) -> int:
    """The length of the store's append-only file."""
    text: Any = await store.execute("INFO", "persistence")
    for line in text.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"aof_current_size":
            return int(value)
    raise RuntimeError("the store keeps no append-only file")


if __name__ == "__main__":
    chosen = load_settings()
    configure_logging(chosen.log_level, chosen.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(run(chosen, sys.argv[1:]))
    sys.stdout.write(f"{json.dumps(told)}\n")
