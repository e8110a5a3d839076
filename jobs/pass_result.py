"""PassResult: what a pass over the markets has published, and what the job's record says of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from data_collector.base_documents import FromBases
from data_collector.base_pass import BasePass
from jobs.closing_journal import closing_journal
from jobs.context import Outcome, by_exchange
from jobs.live_rows import LiveRows
from market.markets import Exchange, Market, Missing
from market.timeframes import Timeframe


@dataclass(slots=True)
class PassResult:
    """`missing`: what the newest version of each document lacks. `absent`: the exchanges that
    brought nothing, and why; None before the first document.

    `unlisted`: what `missing` says of them in every document. `held_up`: Market.key of those whose
    rows were carried over.
    """

    documents: list[Timeframe] = field(default_factory=list)
    rows: int = 0
    stored_bytes: int = 0
    missing: dict[Timeframe, set[Missing]] = field(default_factory=dict)
    held_up: set[str] = field(default_factory=set)
    absent: dict[Exchange, str] | None = None
    unlisted: list[Missing] = field(default_factory=list)
    funding_outdated: bool = False
    awaits_open_interest: bool = False
    not_stored: str | None = None

    def published(
        self,
        produced: Timeframe,
        *,
        rows: int,
        stored_bytes: int,
        missing: Sequence[Missing],
        not_stored: str | None,
    ) -> None:
        """Counts a document, once if it is published again: then what it lacked before no longer
        counts. `not_stored`: why the database did not take its metadata, if so."""
        if produced not in self.documents:
            self.documents.append(produced)
            self.rows += rows
        self.stored_bytes += stored_bytes
        self.missing[produced] = set(missing)
        self.not_stored = not_stored or self.not_stored

    def made(self, from_bases: FromBases) -> None:
        """Counts what the rows of a collected timeframe lack."""
        self.held_up |= from_bases.held_up
        self.funding_outdated |= from_bases.results.funding_outdated
        self.awaits_open_interest |= from_bases.awaiting > 0

    def forget(self, markets: Sequence[Market]) -> None:
        """Forgets what was said of markets whose documents are published again."""
        self.held_up -= {market.key for market in markets}
        names = {(market.exchange, market.symbol) for market in markets}
        for lacking in self.missing.values():
            lacking -= {
                each
                for each in lacking
                if each.part == "klines" and (each.exchange, each.symbol) in names
            }

    def outcome(self, run: BasePass, audit_requests: int, live: LiveRows | None) -> Outcome:
        """The record of the job. `rows` are those of all documents, `missing` counts each entry
        once. `live`: the streams of the pass, if there are any.
        """
        streamed = run.streams.taken.total()
        missing = set().union(*self.missing.values())
        return Outcome(
            run.as_of_ms,
            {
                "markets": run.results.markets,
                "rows": self.rows,
                "missing": len(missing),
                "carried_over": len(self.held_up),
                "requests": run.run.requests,
                "retries": run.run.retries,
                "audit_requests": audit_requests,
                "bytes": self.stored_bytes,
                "documents": [*map(str, self.documents)],
                **({"streamed": streamed} if streamed else {}),
                **({"closing": closing_journal(run, live)} if live is not None else {}),
                **({"metadata_not_stored": self.not_stored} if self.not_stored else {}),
                **by_exchange(
                    absent=self.absent or {},
                    clocks=run.present.remarks if run.present is not None else {},
                ),
            },
            sorted(missing),
        )
