"""Fetches the history of one market page by page, oldest or newest first.

Order, page sizes and paths come from the venues' tables.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

import structlog

from data_collector.api_parser import (
    AnswerPage,
    Candle,
    OpenInterestRow,
    parse_funding,
    parse_klines,
    parse_open_interest,
)
from data_collector.retries import fetch_simple
from data_collector.run import CollectionRun
from data_collector.task_builder import FetchTask
from data_collector.url_builder import endpoint_table, history_request
from market.columns import TIME
from market.markets import FundingRow
from market.rows import Columns
from venues.errors import BadPayload, WindowRefused
from venues.venue import Order, Request

_NARROWED: Final = 4  # at most: during a long collection candles leave the history that is served
# An exchange's history begins at one instant for all markets. After this many markets had nothing
# before it, the others are not asked for earlier rows.
HISTORY_START_KNOWN_AFTER: Final = 3
# Limit on pages: this multiple of the pages needed, as some come short, plus a few.
_PAGES_PER_NEEDED: Final = 30
_SPARE_PAGES: Final = 50

T = TypeVar("T")
Row = TypeVar("Row", bound=tuple[Any, ...])

log = structlog.get_logger(__name__)


# --- a market's history --------------------------------------------------------------------------


async def fetch_klines(run: CollectionRun, task: FetchTask) -> Sequence[Candle]:
    """The candles of the task's window, ascending."""
    parse = partial(parse_klines, task.market, interval_ms=task.step_ms)
    return await _fetch_history(run, task, parse)


async def fetch_open_interest(run: CollectionRun, task: FetchTask) -> Sequence[OpenInterestRow]:
    """The snapshots of the task's window, ascending; at `task.period`, which may be finer.

    If the exchange no longer serves the window's start, narrows it candle by candle.
    """
    parse = partial(parse_open_interest, task.market, interval_ms=task.step_ms)
    for _ in range(_NARROWED):
        try:
            return await _fetch_history(run, task, parse)
        except WindowRefused:
            narrower = task.narrowed()
            if narrower is None:
                raise
            task = narrower
    return await _fetch_history(run, task, parse)


async def fetch_funding(run: CollectionRun, task: FetchTask) -> list[FundingRow]:
    """The regular settlements of the task's window, ascending."""
    parse = partial(parse_funding, task.market)
    return list(await _fetch_history(run, task, parse))


async def _fetch_history(
    run: CollectionRun, task: FetchTask, parse: Callable[[bytes], AnswerPage[Row]]
) -> Sequence[Row]:
    strategy = _BY_ORDER[endpoint_table(task.market.exchange, task.endpoint).order]
    return await strategy(run, task, parse)


async def fetch_forward(
    run: CollectionRun, task: FetchTask, parse: Callable[[bytes], AnswerPage[Row]]
) -> Sequence[Row]:
    """Fetches pages oldest first, for an exchange that answers in ascending order.

    Requests again what a page lacks after its newest row and, with a period, before its oldest
    row, because exchanges do not document which end a short page omits. Only an empty answer
    shows that a window is a hole.
    """
    table = endpoint_table(task.market.exchange, task.endpoint)
    next_ms = task.gap_ms if task.period is not None else 1
    pages: list[Sequence[Row]] = []
    windows = [(task.start_ms, task.end_ms)]
    window_kind = (task.market.exchange, task.endpoint, task.period)
    came_short = False
    for _ in _page_numbers(task, table.page_limit):
        start_ms, until_ms = windows.pop()
        end_ms, limit = task.page(start_ms, until_ms, table.page_limit)
        page = await fetch_simple(run, _page_request(task, start_ms, end_ms, limit), parse)
        pages.append(_rows_in_window(page, task, start_ms, end_ms))
        last_ms = end_ms if page.last_ms is None else min(page.last_ms, end_ms)
        if page.first_ms is None:
            run.empty_before[(*window_kind, until_ms + next_ms)] += 1
        elif task.may_lack_before(page.first_ms, start_ms) and not (
            table.horizon_ms
            and run.empty_before[(*window_kind, page.first_ms)] >= HISTORY_START_KNOWN_AFTER
        ):
            windows.append((start_ms, page.first_ms - next_ms))
        following_ms = last_ms + next_ms
        complete = task.complete_after(last_ms)
        if task.period is not None:
            # Late rows are optional, unless a page came short: then one may have been omitted.
            came_short |= following_ms <= end_ms and not complete
            complete = complete and not came_short
        elif _ends_with_extra(page) and last_ms > start_ms:
            # The regular settlement of the same time may be on the next page.
            following_ms, complete = last_ms, False
        if following_ms <= until_ms and not complete:
            windows.append((following_ms, until_ms))
        if not windows:
            return _joined(pages, task)
    raise _bad_payload(task, "paging did not end: no page was the last one")


async def fetch_backward(
    run: CollectionRun, task: FetchTask, parse: Callable[[bytes], AnswerPage[Row]]
) -> Sequence[Row]:
    """Fetches pages newest first, for an exchange that answers in descending order.

    Each window ends right before the oldest row received, until the start is reached or a page
    is empty. Cursors are not used, as they may repeat.
    """
    table = endpoint_table(task.market.exchange, task.endpoint)
    pages: list[Sequence[Row]] = []
    end_ms = task.end_ms
    step_ms = task.step_ms if task.period is not None else 1
    for _ in _page_numbers(task, table.page_limit):
        limit = min(table.page_limit, task.slots(task.start_ms, end_ms))
        request = _page_request(task, task.start_ms, end_ms, limit)
        page = await fetch_simple(run, request, parse)
        if page.first_ms is None:
            return _joined(pages, task)
        pages.append(_rows_in_window(page, task, task.start_ms, end_ms))
        rows = sum(map(len, pages))
        if task.complete_before(page.first_ms) or (task.wanted is not None and rows >= task.wanted):
            return _joined(pages, task)
        end_ms = page.first_ms - step_ms
    raise _bad_payload(task, "paging did not end: no page was the last one")


fetch_bybit_paginated = fetch_backward  # the public name


_BY_ORDER: Final[Mapping[Order, Callable[..., Awaitable[Sequence[Any]]]]] = {
    Order.ASCENDING: fetch_forward,
    Order.DESCENDING: fetch_backward,
}


def _page_request(task: FetchTask, start_ms: int, end_ms: int, limit: int) -> Request:
    return history_request(
        task.market,
        task.endpoint,
        start_ms=start_ms,
        # The last ms of the last row's interval includes that row whether the exchange compares
        # the end with open or close times, inclusively or not.
        end_ms=end_ms if task.period is None else end_ms + task.step_ms - 1,
        limit=limit,
        period=task.period,
    )


def _page_numbers(task: FetchTask, page_limit: int) -> range:
    needed = -(-task.slots(task.start_ms, task.end_ms) // page_limit)
    return range(_PAGES_PER_NEEDED * needed + _SPARE_PAGES)


def _ends_with_extra(page: AnswerPage[Row]) -> bool:
    """Whether the last row sent is an extra charge, which is not in `rows`."""
    return page.last_ms is not None and (not page.rows or page.rows[-1][TIME] != page.last_ms)


def _joined(pages: Sequence[Sequence[Row]], task: FetchTask) -> Sequence[Row]:
    """All rows in the window, ascending and unique."""
    parts = [page for page in pages if len(page)]
    # Where pages overlap, the row fetched later is used.
    if parts and all(isinstance(part, Columns) for part in parts):
        columns = cast(list[Columns[Row]], parts)
        whole = columns[0] if len(columns) == 1 else type(columns[0]).joined(columns)
        return whole.between(task.start_ms, task.end_ms)
    rows = [row for page in parts for row in page if task.start_ms <= row[TIME] <= task.end_ms]
    return rows if len(parts) < 2 else sorted({row[TIME]: row for row in rows}.values())


def _rows_in_window(
    page: AnswerPage[Row], task: FetchTask, start_ms: int, end_ms: int
) -> Sequence[Row]:
    """The page's rows; raises BadPayload if the exchange ignored the requested window."""
    if page.first_ms is None or page.last_ms is None:
        return ()
    if page.last_ms < start_ms or page.first_ms > end_ms:
        raise _bad_payload(task, "rows outside of the requested window")
    return page.rows


def _bad_payload(task: FetchTask, cause: str) -> BadPayload:
    return BadPayload(
        cause,
        exchange=task.market.exchange,
        endpoint=task.endpoint,
        market=task.market.symbol,
    )
