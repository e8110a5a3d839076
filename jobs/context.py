"""What a job function receives and returns: JobContext, Progress, Outcome and JobFailed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from budgets.exchange_client import ExchangeClient
from cache_manager import CacheManager
from config import Settings
from data_collector import LastAsOf
from data_collector.audits import Audits
from data_collector.doubts import Doubts
from data_collector.interest_answers import InterestAnswers
from database import Database
from documents.journal import EncodedEntry
from documents.kept import KeptDocuments
from documents.overview import LastOverview
from job_queue.queue import JobQueue
from jobs.bases import Bases
from jobs.endings import Endings
from jobs.known_markets import Selection
from jobs.live_rows import LiveRows
from jobs.recording_wish import RecordingWish
from market.markets import Exchange, FundingByMarket, Missing
from market.timeframes import Timeframe
from metrics.worker import WorkerMetrics
from stores.hot.store import HotStore
from timing.clock import now_ms
from workers.parts import PartRuns

if TYPE_CHECKING:
    from providers.collecting.service import DataCollectorService
    from status.looking import Providers


class Heartbeat(Protocol):
    """What is told outside of jobs that end here; it never waits and never raises."""

    def ended(
        self, job: str, run: int, state: Literal["complete", "failed"], error: str | None
    ) -> None: ...


class JobFailed(Exception):
    """The job cannot be done now; the message becomes the record's `error`."""


@dataclass(slots=True)
class Progress:
    """A running job's phase, with the finished and all tasks of that phase.

    A job of several documents enters `merge` and `publish` again for each of them: the tasks are
    then the documents, `done` those that are finished.
    """

    phase: str = "queued"
    done: int = 0
    total: int = 0

    def enter(self, phase: str, total: int = 0, done: int = 0) -> None:
        self.phase, self.done, self.total = phase, done, total

    def count(self, done: int, total: int) -> None:
        self.done, self.total = done, total


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a complete run stores in its record; `as_of_ms` is None if it publishes nothing."""

    as_of_ms: int | None
    result: Mapping[str, Any]
    missing: Sequence[Missing] = ()  # of its documents, each entry once


@dataclass(frozen=True, slots=True)
class KnownFunding:
    """The stored funding, and the version and `updated_at` of its document."""

    book: FundingByMarket
    version: int
    updated_at_ms: int


def by_exchange(**parts: Mapping[Exchange, str]) -> dict[str, Any]:
    """Parts of a run's result that are told by exchange; those without an exchange are left out."""
    return {
        name: {str(exchange): text for exchange, text in part.items()}
        for name, part in parts.items()
        if part
    }


@dataclass(frozen=True, slots=True)
class JobContext:
    """The parts that jobs use; commands/composition.py builds them."""

    settings: Settings
    store: HotStore
    cache: CacheManager
    queue: JobQueue
    database: Database
    client: ExchangeClient
    kept: KeptDocuments
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    now_ms: Callable[[], int] = field(default=now_ms)
    doubts: Doubts = field(default_factory=Doubts)
    audits: Audits = field(default_factory=Audits)
    # By collected timeframe, Market.key of those whose rows in its documents were carried over.
    held_up: dict[Timeframe, frozenset[str]] = field(default_factory=dict)
    # The documents whose newest metadata the database did not take.
    not_stored: set[Timeframe] = field(default_factory=set)
    overview: LastOverview = field(default_factory=LastOverview)  # as it was published last
    last_as_of: LastAsOf = field(default_factory=LastAsOf)  # a witness of the exchanges' clocks
    # The funding that was decoded last, by the version and content hash of its document.
    funding: dict[tuple[int, str], KnownFunding] = field(default_factory=dict)
    interest: InterestAnswers = field(default_factory=InterestAnswers)  # of the fill job
    bases: Bases = field(default_factory=Bases)
    live: LiveRows | None = None  # the candles of streams, where they are fed
    parts: PartRuns | None = None  # other hosts, where schedules are on
    recording: RecordingWish = field(default_factory=RecordingWish)  # set by publishes
    providers: "DataCollectorService | None" = None  # unless PROVIDERS=off
    asked: "Providers | None" = None  # what they are asked with; of a worker's process
    endings: Endings | None = None  # where what ended is kept
    heartbeat: Heartbeat | None = None  # with HEARTBEAT_URL

    @property
    def funding_updated_ms(self) -> int | None:
        """The `updated_at` of the funding that was decoded last."""
        return next((known.updated_at_ms for known in self.funding.values()), None)

    def recorded(self, entry: EncodedEntry | None) -> None:
        """Tells that a document was published with this entry: the history may take it."""
        if entry is not None:
            self.recording.ask()

    @property
    def keeps_history(self) -> bool:
        """Whether publishes leave entries for the history."""
        return self.settings.history == "on"

    @property
    def selection(self) -> Selection:
        """The settings' selection of markets, as arguments for Database methods."""
        settings = self.settings
        return {
            "exchanges": settings.exchanges,
            "quote": settings.quote,
            "markets_limit": settings.markets_limit,
        }
