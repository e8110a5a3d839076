"""The other hosts that may ask the exchanges: those alive, each with its address and its queues."""

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from metrics.exposition import MalformedMetrics, unpack
from metrics.worker import HOST_METRIC
from stores.hot.beats import workers_alive
from stores.hot.store import HotStore, StoreUnavailable
from texts.foreign import foreign_text

_LONGEST_NAME = 64

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Host:
    """A worker process that runs schedules: the name of its address, and the queues it serves."""

    worker_id: str
    egress: str
    queues: frozenset[str]


async def hosts_alive(store: HotStore) -> list[Host]:
    """Those whose heartbeat counts and tells of them. Raises StoreUnavailable."""
    found: list[Host] = []
    for worker_id, note in sorted((await workers_alive(store)).items()):
        try:
            found += _hosts(worker_id, note)
        except MalformedMetrics as error:
            log.debug("heartbeat_unreadable", worker=worker_id, error=foreign_text(str(error)))
    return found


def _hosts(worker_id: str, note: bytes) -> Iterable[Host]:
    if not note:
        return
    for family in unpack(note):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == HOST_METRIC and labels.get("schedules") == "on":
                queues = frozenset(labels.get("queues", "").split())
                yield Host(worker_id, labels.get("egress", "")[:_LONGEST_NAME], queues)


async def other_addresses(store: HotStore, own_egress: str) -> list[str]:
    """The egress ids of the other addresses from which somebody alive may ask, sorted. Raises
    StoreUnavailable."""
    hosts = await hosts_alive(store)
    return sorted({host.egress for host in hosts if host.egress not in ("", own_egress)})


async def addresses_alive(store: HotStore) -> int:
    """From how many addresses somebody alive may ask; 1, where nobody tells, or the store is
    away."""
    try:
        return max(1, len({host.egress for host in await hosts_alive(store)} - {""}))
    except StoreUnavailable as error:
        log.info("addresses_unknown", error=str(error))
        return 1
