"""GET /metrics: the metrics of all processes, and the state of the documents.

Counters must never fall, whichever process answers. Each of several API processes behind one
listener keeps its metrics in the store, and writes its own before it reads all of them.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final, get_args

import structlog
from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from api.openapi import responses
from api.parts import Parts, ProviderParts
from api.state import RequestParts
from cache_manager import DocumentMeta
from documents.names import SERVED
from job_queue.records import JobState
from metrics.api import ApiMetrics
from metrics.exposition import CONTENT_TYPE, MalformedMetrics, MetricsPage, pack, unpack
from metrics.providers import ProviderCounts, provider_families
from stores.hot.beats import read_of_alive
from stores.hot.journal import JournalState, read_of_state
from stores.hot.read import Read, read_together
from stores.hot.replies import list_of, whole_number
from stores.hot.store import HotStore, StoreUnavailable
from timing.clock import Clock, SystemClock

_DEADLINE_S: Final = 2.0
# How often a process writes its metrics, and how long they count. Upstash bills every command.
_SHARE_EVERY_S: Final = {"native": 5.0, "upstash": 60.0}
_SHARED_TTL_S: Final = {"native": 30, "upstash": 150}
_MOST_PROCESSES: Final = 64  # of each kind

# exist(keys...): 1 for each that exists, else 0.
_EXIST: Final = """
local there = {}
for i, key in ipairs(KEYS) do there[i] = redis.call('EXISTS', key) end
return there
"""

log = structlog.get_logger(__name__)


class ProcessGroup:
    """The API processes behind one listener; each answers with the metrics of all."""

    def __init__(
        self, metrics: ApiMetrics, names: Sequence[str], clock: Clock | None = None
    ) -> None:
        self.metrics = metrics
        self._clock = clock or SystemClock()
        self._others = [name for name in names if name != metrics.process]
        # One write at a time, so that an older one cannot replace a newer one.
        self._writing = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def shared(self, store: HotStore) -> AsyncIterator[None]:
        """While entered, writes this process's metrics to the store, if it is one of a group."""
        if self.metrics.group is None:
            yield
            return
        sharing = asyncio.create_task(self._keep_sharing(store), name="share-metrics")
        try:
            yield
        finally:
            sharing.cancel()
            await asyncio.gather(sharing, return_exceptions=True)

    async def read(self, store: HotStore) -> dict[str, bytes]:
        """Writes our metrics; returns those of the others, by process. Raises StoreUnavailable."""
        if self.metrics.group is None or not self._others:
            return {}
        await self._share(store)
        texts = await store.execute("MGET", *map(self._key, self._others))
        return {name: text for name, text in zip(self._others, texts, strict=True) if text}

    def read_of_alive(self) -> Read[list[str]]:
        """The read of the names of the others that are alive."""
        names = self._others if self.metrics.group is not None else []

        def made(reply: Sequence[int]) -> list[str]:
            return [name for name, there in zip(names, reply, strict=True) if there]

        keys = [self._key(name) for name in names]
        return Read("exist", _EXIST, keys, (), list_of(whole_number(0, 1), len(keys)), made)

    async def _keep_sharing(self, store: HotStore) -> None:
        while True:
            try:
                await self._share(store)
            except StoreUnavailable as error:
                log.debug("metrics_not_shared", error=str(error))
            await self._clock.sleep(_SHARE_EVERY_S[store.kind])

    async def _share(self, store: HotStore) -> None:
        async with self._writing:
            text = pack(self.metrics.registry)
            ttl_s = _SHARED_TTL_S[store.kind]
            await store.execute("SET", self._key(self.metrics.process), text, "EX", ttl_s)

    def _key(self, process: str) -> str:
        return f"metrics:{self.metrics.group}:{process}"


def build_scrape(processes: ProcessGroup) -> APIRouter:
    router = APIRouter(tags=["status"])

    @router.get(
        "/metrics",
        response_class=Response,
        responses={
            **responses(),
            200: {
                "description": "Prometheus' text format, 0.0.4",
                "content": {
                    "text/plain": {"schema": {"type": "string"}, "example": "perpcache_store_up 1"}
                },
            },
        },
        summary="Metrics for Prometheus",
    )
    async def metrics(parts: RequestParts) -> Response:
        """Metrics of workers have a `worker` label, those of live processes `live`, those of API
        processes `process`. While the store does not answer: only those of this process, with
        `perpcache_store_up 0`."""
        page = MetricsPage()
        up = await _add_shared(page, parts, processes)
        page.add([_gauge("store_up", "Whether the hot store answers.", [((), up)])])
        return Response(page.text(), media_type=CONTENT_TYPE)

    return router


async def _add_shared(page: MetricsPage, parts: Parts, processes: ProcessGroup) -> bool:
    """Adds all metrics; if the store does not answer, only our own, and returns False."""
    metrics = processes.metrics
    page.add(metrics.registry.collect(), {"process": metrics.process})
    try:
        async with asyncio.timeout(_DEADLINE_S):
            metas, ((workers, live), journal), jobs, others, providers = await asyncio.gather(
                parts.cache.read_metas(SERVED),
                read_together(parts.store, "scrape", [read_of_alive(), read_of_state()]),
                parts.queue.list(),
                processes.read(parts.store),
                _provider_families(parts.providers),
            )
    except (StoreUnavailable, TimeoutError) as error:
        log.debug("metrics_of_others_not_read", error=str(error))
        return False
    states = Counter(job.state for job in jobs)
    waiting_since = [job.enqueued_at for job in jobs if job.state == "queued" and job.enqueued_at]
    waits_s = time.time() - min(waiting_since) / 1000 if waiting_since else 0.0
    page.add(
        [
            *_cache_families(metas),
            *_history_families(journal),
            *providers,
            _gauge("workers", "Workers whose last heartbeat still counts.", [((), len(workers))]),
            _gauge(
                "live_processes",
                "Live processes whose last heartbeat still counts.",
                [((), len(live))],
            ),
            _gauge(
                "job_records",
                "Jobs known to the queue, by state.",
                [((state,), states[state]) for state in get_args(JobState)],
                "state",
            ),
            _gauge(
                "job_queued_seconds",
                "How long the oldest queued job has been waiting.",
                [((), max(0.0, waits_s))],
            ),
        ]
    )
    for label, notes in (("worker", workers), ("live", live)):
        for process, note in sorted(notes.items())[:_MOST_PROCESSES]:
            _add_packed(page, note, label, process)
    for process, text in others.items():
        _add_packed(page, text, "process", process)
    return True


def _add_packed(page: MetricsPage, text: bytes, label: str, value: str) -> None:
    if not text:
        return  # a process without metrics
    try:
        page.add(unpack(text), {label: value})
    except MalformedMetrics as error:
        log.warning("metrics_unreadable", error=str(error), **{label: value})


def _cache_families(metas: dict[str, DocumentMeta | None]) -> list[GaugeMetricFamily]:
    now_s = time.time()
    stored = [(name, meta) for name, meta in metas.items() if meta is not None]

    def family(
        name: str, documentation: str, value: Callable[[DocumentMeta], float]
    ) -> GaugeMetricFamily:
        samples = [((document,), value(meta)) for document, meta in stored]
        return _gauge(f"cache_{name}", documentation, samples, "timeframe")

    return [
        family(
            "age_seconds",
            "Since the document was made.",
            lambda meta: max(0.0, now_s - meta.updated_at_ms / 1000),
        ),
        family(
            "as_of_timestamp_seconds",
            "The exchanges' time when the collection of the document's data began.",
            lambda meta: meta.as_of_ms / 1000,
        ),
        family("version", "The document's version.", lambda meta: meta.version),
        family("stored_bytes", "Size in the store.", lambda meta: meta.stored_bytes),
        family("json_bytes", "Size of the JSON.", lambda meta: meta.json_bytes),
    ]


def _history_families(journal: JournalState) -> list[GaugeMetricFamily]:
    since_ms = journal.oldest_ms
    behind_s = max(0.0, time.time() - since_ms / 1000) if since_ms is not None else 0.0
    return [
        _gauge(f"history_{name}", documentation, [((), value)])
        for name, documentation, value in (
            ("entries_waiting", "Publishes that wait to be recorded.", journal.waiting),
            ("journal_bytes", "What they take in the hot store.", journal.bytes),
            ("behind_seconds", "Since the oldest of them was made; 0: none waits.", behind_s),
            ("cut", "Publishes that found no room in the journal, ever.", journal.cut),
        )
    ]


async def _provider_families(parts: ProviderParts | None) -> list[Metric]:
    """What all processes have counted; none where PROVIDERS=off."""
    if parts is None:
        return []
    usage = parts.chains.usage
    used = await usage.read([each.id for each in parts.registry.resources])
    questions = await usage.questions(parts.registry.chains())
    return provider_families(
        (
            ProviderCounts(
                *(name, each.requests, each.success, each.failed, each.sum_ms / 1000, each.trips)
            )
            for name, each in used.items()
        ),
        {chain: each.fallbacks for chain, each in questions.items()},
    )


def _gauge(
    name: str,
    documentation: str,
    samples: Iterable[tuple[tuple[str, ...], float]],
    *labels: str,
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"perpcache_{name}", documentation, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
