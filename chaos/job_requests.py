"""Continuous job requests and page visits during a run, and checks of how the jobs end."""

import asyncio
import random
import time
from typing import Any, Final

import aiohttp

from chaos.checks import INTERVALS_MS
from chaos.deployment import CRON_SECRET, Deployment

_ANSWER_S: Final = 8.0  # an answer is promised within 3 s; a busy machine may take longer
_PAUSE_S: Final = (0.8, 4.0)
_SETTLED_S: Final = 90.0
_LOOK_S: Final = 0.25
_PAGES: Final = ("/ready", "/coins", "/metrics", "/health", "/openapi.json")
_FINAL: Final = ("complete", "failed")
ALL: Final = "all"
_ALL_JOB: Final = f"collect:{ALL}"
_FILL_JOB: Final = "fill"
_OF_DATABASE: Final = ("discovery", "record", "backfill")  # they do what it is for
_LONGEST_RUN_MS: Final = 90_000  # assumed if the start of a document's run was not seen


class JobRequests:
    """Sends POSTs at random; `accepted` has the newest accepted run of each job."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._chance = random.Random(f"{deployment.plan.seed}:posts")  # noqa: S311 - to be repeatable
        self.accepted: dict[str, int] = {}

    async def run(self) -> None:
        while True:
            draw = self._chance.random()
            if draw < 0.12:
                await self.post("/api/v1/internal/update-fr")
            elif draw < 0.16:
                await self.post("/api/v1/internal/update-coins")
            else:
                of_all = self._chance.random() < self._deployment.plan.share_of_all
                timeframe = ALL if of_all else self._chance.choice(tuple(INTERVALS_MS))
                for _ in range(self._chance.choice((1, 1, 1, 2, 3))):  # some clients repeat
                    await self.post("/get-market-data", {"timeframe": timeframe})
                    await asyncio.sleep(self._chance.uniform(0, 0.6))
            await asyncio.sleep(self._chance.uniform(*_PAUSE_S))

    async def post(self, path: str, body: Any = None) -> Any:
        """POSTs; returns the job, or None if it was not accepted."""
        headers = {} if body else {"Authorization": f"Bearer {CRON_SECRET}"}
        report, began = self._deployment.report, time.monotonic()
        try:
            async with self._deployment.session.post(
                self._chance.choice(self._deployment.apis) + path,
                json=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=_ANSWER_S),
            ) as answer:
                status, job = answer.status, await answer.json()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            report.asked["not answered"] += 1
            if not self._deployment.outages.overlap(began, time.monotonic()):
                report.violate("the API answers", f"POST {path}: {type(error).__name__} {error}")
            return None
        report.asked[str(status)] += 1
        if status == 202:
            report.compared["runs requested while one ran"] += job["rerun"]
            self.accepted[job["id"]] = max(self.accepted.get(job["id"], 0), job["run"])
            return job
        if status != 503 or not job.get("detail"):
            report.violate("a POST is accepted or refused with a reason", f"{path}: {job}")
        return None


class PageVisits:
    """Requests the API's other pages: each must be answered with 200, or 503 during a fault."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._first = f"/jobs/collect:{ALL if deployment.plan.first_all else '4h'}"

    async def run(self) -> None:
        while True:
            for path in (*_PAGES, self._first):
                for api in self._deployment.apis:
                    await self._visit(api, path)
                    await asyncio.sleep(_LOOK_S)

    async def _visit(self, api: str, path: str) -> None:
        report, began = self._deployment.report, time.monotonic()
        try:
            async with self._deployment.session.get(
                api + path, timeout=aiohttp.ClientTimeout(total=_ANSWER_S)
            ) as answer:
                status, text = answer.status, await answer.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if not self._deployment.outages.overlap(began, time.monotonic()):
                report.violate("the API answers", f"{path}: {type(error).__name__} {error}")
            return
        report.pages[f"{path} {status}"] += 1
        if status not in (200, 503) or not text:
            report.violate("a page is answered 200 or 503", f"{path}: {status} {text[:200]}")


class JobRuns:
    """Polls the jobs: records when runs began, and checks how they ended."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._started: dict[str, list[int]] = {}
        self._seen: set[tuple[str, int]] = set()
        self._jobs: dict[str, Any] = {}
        self._looks = 0
        self._filled: list[int] = []  # when runs of `fill` ended
        # Complete runs of all timeframes: (wall clock ms at the end, as_of).
        self._of_all: list[tuple[int, int]] = []

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> bool:
        """Polls once; False if the API or the store did not answer."""
        self._looks += 1
        apis = self._deployment.apis
        try:
            async with self._deployment.session.get(
                f"{apis[self._looks % len(apis)]}/jobs"
            ) as answer:
                if answer.status != 200:
                    return False
                jobs = (await answer.json())["jobs"]
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        for job in jobs:
            self._note(job)
        return True

    def _note(self, job: Any) -> None:
        self._jobs[job["id"]] = job
        started = self._started.setdefault(job["id"], [])
        if job["started_at"] and job["started_at"] not in started:
            started.append(job["started_at"])
        last = job["last"]
        if last is None or (job["id"], last["run"]) in self._seen:
            return
        self._seen.add((job["id"], last["run"]))
        report = self._deployment.report
        report.ended[last["state"]] += 1
        report.jobs[f"{job['id']} {last['state']}"] += 1
        report.compared["candles taken from streams"] += (last["result"] or {}).get("streamed", 0)
        if job["id"] == _ALL_JOB and last["state"] == "complete":
            self._of_all.append((last["finished_at"], last["as_of"]))
        if job["id"] == _FILL_JOB:
            self._filled.append(last["finished_at"])
        if last["state"] == "failed":
            report.causes[f"{job['id']}: {last['error'] or 'no cause'}"[:90]] += 1
        if last["state"] not in _FINAL or (last["state"] == "failed" and not last["error"]):
            report.violate("a run ends complete or failed with a cause", f"{job['id']}: {last}")
        if job["id"] not in _OF_DATABASE and "the database" in (last["error"] or ""):
            # The last known markets are in the hot store, and what is recorded later waits there.
            report.violate("jobs run without the database", f"{job['id']}: {last['error']}")
        if "internal error" in (last["error"] or ""):
            report.violate("no internal errors", f"{job['id']}: {last['error']}")

    def began_before(self, name: str, written_ms: int, shown_ms: float) -> float:
        """About when the run began that collected the document; never later than it did.

        It was written at `written_ms`; the exchanges showed its `as_of` from `shown_ms` on.
        """
        filling = self._last_start(_FILL_JOB, written_ms)
        if filling is not None and not any(filling <= at < written_ms for at in self._filled):
            # It may have written it anew.
            return min(shown_ms, written_ms) - _LONGEST_RUN_MS
        own = f"collect:{'4h' if name == '8h' else name}"
        starts = (self._last_start(job_id, written_ms) for job_id in (own, _ALL_JOB))
        return min((at for at in starts if at is not None), default=written_ms - _LONGEST_RUN_MS)

    def _last_start(self, job_id: str, wall_ms: int) -> int | None:
        return max((at for at in self._started.get(job_id, ()) if at <= wall_ms), default=None)

    def collected_all(self, before_ms: float) -> int | None:
        """The newest `as_of` of complete runs of all timeframes that ended before `before_ms`."""
        return max((as_of for ended, as_of in self._of_all if ended < before_ms), default=None)

    async def active(self, job_id: str, within_s: float) -> bool:
        """Whether the job is seen running within `within_s`."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if await self.look() and self._jobs[job_id]["state"] == "active":
                return True
            await asyncio.sleep(0.01)
        return False

    async def settled(self, accepted: dict[str, int]) -> None:
        """Waits until all accepted runs have ended; reports those that have not."""
        deadline = time.monotonic() + _SETTLED_S
        open_jobs: list[str] = []
        while time.monotonic() < deadline:
            if await self.look():
                open_jobs = [
                    f"{job_id}: run {run} was accepted, the job is {self._describe(job_id)}"
                    for job_id, run in accepted.items()
                    if not self._has_ended(job_id, run)
                ] + [
                    f"{job_id} is {job['state']}"
                    for job_id, job in self._jobs.items()
                    if job["state"] in ("queued", "active")
                ]
                if not open_jobs:
                    return
            await asyncio.sleep(_LOOK_S)
        for job in open_jobs or ["GET /jobs was not answered"]:
            self._deployment.report.violate("every accepted POST ends", job)

    def _has_ended(self, job_id: str, run: int) -> bool:
        last = (self._jobs.get(job_id) or {}).get("last")
        return last is not None and last["run"] >= run

    def _describe(self, job_id: str) -> str:
        job = self._jobs.get(job_id)
        return f"{job['state']} in run {job['run']}, last {job['last']}" if job else "unknown"
