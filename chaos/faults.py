"""The injection of the planned faults, and their removal.

A lasting fault is removed when its time is over, and also when the run is interrupted.
"""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import orjson
import psutil
import redis.asyncio as redis

from chaos import misbehaving_clients
from chaos.checks import M5_MS
from chaos.closes import Closes
from chaos.deployment import Deployment, DeploymentFailed
from chaos.job_requests import JobRequests
from chaos.listed_markets import ListedMarkets
from chaos.live_faults import LiveFaults
from chaos.plan import Step
from chaos.processes import RestartedProcess
from stores.embedded.server import EmbeddedServer

_ENDS_WITHIN_S: Final = 3.0  # the promised time from SIGTERM to the end
_BUSY_S: Final = 2.0  # tolerance for a busy machine
# A child watches its parent only once it has started, which takes a while on a busy machine.
_ORPHANS_S: Final = 15.0
_API_BACK_S: Final = 60.0  # after many exits the API is restarted after a pause of 10 s
_SHUT_OUT_S: Final = 8.0
_STORE_PATIENCE_S: Final = 60.0
_CONNECTIONS: Final = ("pubsub", "normal")
_STORE_FOUND_S: Final = 3.0  # until every process has found the store again
_UNDONE_S: Final = 90.0

Do = Callable[[Step], Awaitable[None]]


class FaultInjection:
    """Injects the faults of the plan, each at its time."""

    def __init__(
        self,
        deployment: Deployment,
        listed: ListedMarkets,
        requests: JobRequests,
        closes: Closes,
    ) -> None:
        self._closes = closes
        self._live = LiveFaults(deployment, listed, closes, self._end, self._pause_processes)
        self._deployment = deployment
        self._listed = listed
        self._requests = requests
        self._report = deployment.report
        self._api_lock = asyncio.Lock()  # one outage of the API at a time
        self._lanes: Mapping[str, Do] = {
            "exchange": self._exchange,
            "process": self._process,
            "store": self._store,
            "database": self._database,
            "client": self._client,
            "clock": self._clock,
            "listing": self._change_listing,
            "stream": self._live.stream,
            "live": self._live.live,
            "network": self._live.network,
        }

    async def run(self) -> None:
        """Injects all faults; returns when the last one is removed."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as running:
            for step in self._deployment.plan.steps:
                await asyncio.sleep(max(0.0, began + step.at_s - time.monotonic()))
                running.create_task(self._do(step), name=str(step))

    async def _do(self, step: Step) -> None:
        self._report.faults[f"{step.lane} {step.kind}"] += 1
        try:
            async with asyncio.timeout(step.lasts_s + _UNDONE_S), self._live.disturbing(step):
                await self._lanes[step.lane](step)
        except TimeoutError:
            raise DeploymentFailed(f"a fault was not injected or removed in time: {step}") from None

    # --- exchanges -------------------------------------------------------------------------------

    async def _exchange(self, step: Step) -> None:
        rule = {**step.details, "duration_s": step.lasts_s}
        place = rule.pop("market", None)
        if place is not None:
            market = self._listed.pick(place, rule.get("exchange"))
            rule |= {"exchange": market.partition(":")[0], "symbol": self._listed.native(market)}
        shut_out = step.kind == "too_frequent_403"
        if shut_out:
            rule["ban_s"] = _SHUT_OUT_S
        (added,) = (await self._deployment.ask_simulator("/sim/faults", rule))[-1:]
        await asyncio.sleep(step.lasts_s)
        if shut_out and await self._was_used(added["number"]):
            await asyncio.sleep(_SHUT_OUT_S)
            await self._end_pause()

    async def _was_used(self, number: int) -> bool:
        rules = await self._deployment.ask_simulator("/sim/faults")
        return any(rule["number"] == number and rule["used"] for rule in rules)

    async def _end_pause(self) -> None:
        """Ends the exchange's pause of ten minutes early, in the store and in each process that
        sends requests: each knows it, and stores it again where it is absent."""
        await self._delete_pauses()
        await self.end_workers()
        live = self._deployment.pids("live")
        await asyncio.gather(*(self._end(pid, "a live process", signal.SIGKILL) for pid in live))
        await self._delete_pauses()  # one of them may have stored it again

    async def end_workers(self) -> None:
        """Ends all workers in order; they are started again."""
        pids = self._deployment.pids("worker")
        await asyncio.gather(*(self._end(pid, "a worker", signal.SIGTERM) for pid in pids))

    async def _delete_pauses(self) -> None:
        async def delete(store: Any) -> None:
            for key in await store.keys(self._deployment.key("pause:*bybit*")):
                await store.delete(key)

        await self._in_store(delete)

    # --- processes -------------------------------------------------------------------------------

    async def _process(self, step: Step) -> None:
        if step.kind.startswith("worker"):
            pid = await self._chosen_worker(step.details["who"])
            if pid is None:
                return  # it is being restarted
            if step.kind == "worker_stopped":
                await self._pause_processes([pid], step.lasts_s)
            elif step.kind == "worker_killed":
                await self._end(pid, "a worker", signal.SIGKILL)
            else:
                await self._end(pid, "a worker", signal.SIGTERM)
        else:
            async with self._api_lock:
                await self._break_api(step)

    async def _chosen_worker(self, who: str) -> int | None:
        pids = self._deployment.pids("worker")
        if who == "holder":
            holder = await self._deployment.holder()
            if holder in pids:
                return holder
        return (pids[-1] if who == "second" else pids[0]) if pids else None

    async def _break_api(self, step: Step) -> None:
        since = self._deployment.outages.begin()
        try:
            if step.kind == "api_stopped":
                await self._pause_processes(self._deployment.pids("api"), step.lasts_s)
            elif step.kind == "api_killed":
                if pids := self._deployment.pids("api"):
                    pid = pids[int(step.details["process"] * len(pids))]
                    await self._end(pid, "an API process", signal.SIGKILL)
            else:
                await self._break_main(step.kind)
            deadline = time.monotonic() + _API_BACK_S
            while not await self._deployment.apis_answer():
                if time.monotonic() > deadline:
                    self._report.violate("the API comes back", f"not after {step.kind}")
                    return
                await asyncio.sleep(0.1)
        finally:
            self._deployment.outages.end(since)

    async def _break_main(self, kind: str) -> None:
        service = self._deployment.service
        if service is None or service.pid is None:
            return
        children = psutil.Process(service.pid).children(recursive=True)
        number = signal.SIGKILL if kind == "main_killed" else signal.SIGTERM
        await self._end(service.pid, "the service", number, service)
        for orphan in await _still_running(children, _ORPHANS_S):
            self._report.violate("no orphans", f"{orphan} outlived main by {_ORPHANS_S:g} s")

    async def _end(
        self, pid: int, what: str, number: signal.Signals, kept: RestartedProcess | None = None
    ) -> None:
        kept = kept or next((each for each in self._deployment.kept if each.pid == pid), None)
        if kept is not None:
            kept.expect_end()
        try:
            process = psutil.Process(pid)
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return
        began = time.monotonic()
        if await _still_running([process], _ENDS_WITHIN_S + _BUSY_S):
            took_s = time.monotonic() - began
            self._report.violate(
                "a process ends within 3 s", f"{what} still ran {took_s:.1f} s after the signal"
            )

    async def _pause_processes(self, pids: list[int], lasts_s: float) -> None:
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            for pid in pids:
                _signal(pid, signal.SIGCONT)

    # --- stores ----------------------------------------------------------------------------------

    async def _store(self, step: Step) -> None:
        since = self._deployment.store_outages.begin()
        try:
            await self._break_store(step)
            await self._execute_all(("PING",))
            await asyncio.sleep(_STORE_FOUND_S)
        finally:
            self._deployment.store_outages.end(since)

    async def _break_store(self, step: Step) -> None:
        kind, valkey = step.kind, self._deployment.valkey
        if kind in ("restarted", "killed", "unreachable"):
            await self._break_server(valkey, kind, step.lasts_s, signal.SIGTERM)
            return
        if kind == "connections_cut":
            await self._execute_all(
                *(("CLIENT", "KILL", "TYPE", what, "SKIPME", "yes") for what in _CONNECTIONS)
            )
            return
        if kind == "bases_lost":
            await self._in_store(self._deployment.lose_bases)
            return
        if kind == "foreign_value":
            await self._put_foreign_value(step.details["key"])
            return
        done, undone = {
            "full": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
            "read_only": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        }[kind]
        try:
            await self._execute_all(done)
            await asyncio.sleep(step.lasts_s)
        finally:
            await self._execute_all(undone)

    async def _put_foreign_value(self, key: str) -> None:
        """Puts a list at one of the service's keys, as a neighbour in the same Redis might."""
        stored = self._deployment.key(key)

        async def put(store: Any) -> None:
            await store.execute_command("DEL", stored)
            await store.execute_command("RPUSH", stored, "not", "ours")
            meta = await store.execute_command("GET", f"{stored}:meta")
            if meta is not None:
                name = key.removeprefix("cache:")
                self._deployment.lost_versions[name] = orjson.loads(meta)["version"]

        await self._in_store(put)

    async def _database(self, step: Step) -> None:
        # SIGINT is PostgreSQL's fast shutdown.
        await self._break_server(self._deployment.postgres, step.kind, step.lasts_s, signal.SIGINT)

    async def _break_server(
        self, server: EmbeddedServer, kind: str, lasts_s: float, ending: signal.Signals
    ) -> None:
        pids = self._deployment.server_pids(server)
        if not pids:
            self._report.violate("stores keep running", f"no {server.name} runs")
            return
        if kind == "unreachable":
            await self._pause_processes(pids, lasts_s)
            return
        try:
            _signal(pids[0], signal.SIGKILL if kind == "killed" else ending)
            await asyncio.sleep(lasts_s)
        finally:
            await asyncio.to_thread(server.restart, threading.Event())

    async def _execute_all(self, *commands: Sequence[str]) -> None:
        async def execute(store: Any) -> None:
            for command in commands:
                await store.execute_command(*command)

        await self._in_store(execute)

    async def _in_store(self, work: Callable[[Any], Awaitable[None]]) -> None:
        """Runs `work` with a client of the hot store, again and again until the store answers:
        another fault may keep it away."""
        deadline = time.monotonic() + _STORE_PATIENCE_S
        while True:
            try:
                async with self._deployment.store() as store:
                    await work(store)
                return
            except (redis.RedisError, OSError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    # --- clients, clock, listings ----------------------------------------------------------------

    async def _client(self, step: Step) -> None:
        problems = await misbehaving_clients.KINDS[step.kind](
            self._deployment.apis[0], int(step.details["count"]), step.lasts_s
        )
        for problem in problems:
            self._report.violate("malformed requests are refused", problem)

    async def _clock(self, step: Step) -> None:
        now_ms, details = self._deployment.clock.now_ms(), step.details
        if step.kind == "corrected":
            closed_ms = now_ms - now_ms % M5_MS + M5_MS
            await self._deployment.move_clock(closed_ms + details["beyond_ms"])
            await asyncio.sleep(step.lasts_s)
            await self._listed.correct(details["market"], closed_ms - M5_MS)
            return
        if "ms" in details:
            then_ms = now_ms + details["ms"]
        else:
            interval_ms = details["interval_ms"]
            then_ms = now_ms - now_ms % interval_ms + interval_ms + details["beyond_ms"]
        await self._deployment.move_clock(then_ms)

    async def _change_listing(self, step: Step) -> None:
        if step.kind == "listed":
            await self._listed.list_new(**step.details)
        else:
            details = step.details
            gone = await self._listed.delist(details["exchange"], details["market"])
            self._closes.freshness.gone(gone or "")
        await self._requests.post("/api/v1/internal/update-coins")


async def _still_running(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    """The processes that have not ended in time. It polls, because waiting for a child would take
    its exit status from the task that keeps it running."""
    deadline = time.monotonic() + within_s
    while True:
        left = [each for each in processes if _runs(each)]
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.03)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
