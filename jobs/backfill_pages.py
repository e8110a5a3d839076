"""Pages of a backfill: asked for until they are answered, or until it is known that they fail."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from data_collector.internal_errors import ENDS_JOB
from data_collector.run import CollectionRun
from history.backfill.asks import Ask
from jobs.backfill_answers import Answer, fetch_answer
from jobs.backfill_asking import Asking, ExchangeGivenUp
from jobs.backfill_tally import Tally
from jobs.context import JobContext
from market.markets import Exchange
from venues.errors import ExchangeError, SymbolGone

# So often may one kind of a market's data fail; then it is not asked for any more.
_MOST_FAILURES: Final = 3

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Pages:
    """`asking`: of each exchange. `now_ms`: its time. What fails is told in the tally."""

    context: JobContext
    tally: Tally
    asking: Mapping[Exchange, Asking]
    now_ms: Callable[[Exchange], int]
    _gone: set[str] = field(default_factory=set)
    _failures: dict[tuple[str, str], int] = field(default_factory=dict)

    def is_left(self, ask: Ask) -> bool:
        """Whether it is not to be asked any more."""
        market = ask.series.market
        return (
            market.exchange in self.tally.failed_exchanges
            or market.key in self._gone
            or self._failures.get((market.key, ask.series.stage.name), 0) >= _MOST_FAILURES
        )

    async def answer(self, ask: Ask) -> Answer | None:
        """None if it failed, which is told."""
        market = ask.series.market
        asking = self.asking[market.exchange]

        async def fetch(run: CollectionRun) -> Answer:
            try:
                return await fetch_answer(run, ask, self.now_ms(market.exchange))
            except ENDS_JOB:
                raise
            except Exception as unexpected:
                error = run.internal_error(unexpected, market.exchange)
                if error is unexpected:
                    raise
                raise error from None

        try:
            answer = await asking.ask(fetch)
        except ExchangeGivenUp as error:
            self.tally.exchange_failed(market.exchange, str(error))
            return None
        except ExchangeError as error:
            self._failed(ask, error)
            return None
        self.tally.out_of_reach += answer.out_of_reach
        if answer.left_out:
            self.tally.left_out += len(answer.left_out)
            log.warning(
                "backfill_rows_left_out",
                market=market.key,
                what=ask.series.stage.name,
                rows=len(answer.left_out),
                first=answer.left_out[0].text(),
            )
        return answer

    def _failed(self, ask: Ask, error: ExchangeError) -> None:
        market = ask.series.market
        if isinstance(error, SymbolGone):
            self._gone.add(market.key)
        kind = market.key, ask.series.stage.name
        self._failures[kind] = self._failures.get(kind, 0) + 1
        self.tally.failed(market.key, f"{ask.series.stage.name}: {error.cause}")
        self.context.metrics.backfill_failed(market.exchange)
        log.warning(
            "backfill_failed",
            market=market.key,
            what=ask.series.stage.name,
            from_ms=ask.from_ms,
            to_ms=ask.to_ms,
            cause=str(error),
        )
