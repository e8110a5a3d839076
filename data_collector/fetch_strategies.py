"""Fetches the history of one market page by page, oldest or newest first.

Order, page sizes and paths come from the venues' tables. Invalid rows are left out and
reported; where an exchange gives two different rows for one instant it is asked once more.
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
from market.left_out import LeftOut
from market.markets import FundingRow
from market.rows import Columns
from venues.errors import BadPayload
from venues.venue import Order, Request

# An exchange's history begins at one instant for all markets. After this many markets had nothing
# before it, the others are not asked for earlier rows.
HISTORY_START_KNOWN_AFTER: Final = 3
# Limit on pages: this multiple of the pages needed, as some come short, plus a few.
_PAGES_PER_NEEDED: Final = 30
_SPARE_PAGES: Final = 50
_OUTSIDE: Final = "outside of the requested window"
_DISPUTED: Final = "two different rows for this instant"

Row = TypeVar("Row", bound=tuple[Any, ...])

log = structlog.get_logger(__name__)


# --- a market's history --------------------------------------------------------------------------


async def fetch_klines(
    run: CollectionRun, task: FetchTask, left_out: list[LeftOut] | None = None
) -> Sequence[Candle]:
    """The candles of the task's window, ascending. Those left out are added to `left_out`."""
    parse = partial(
        parse_klines,
        task.market,
        interval_ms=task.step_ms,
        trade_columns=run.trade_columns,
    )
    return await _fetch_history(run, task, parse, left_out)


async def fetch_open_interest(
    run: CollectionRun, task: FetchTask, left_out: list[LeftOut] | None = None
) -> Sequence[OpenInterestRow]:
    """The snapshots of the task's window, ascending; at `task.period`, which may be finer."""
    parse = partial(parse_open_interest, task.market, interval_ms=task.step_ms)
    return await _fetch_history(run, task, parse, left_out)


async def fetch_funding(
    run: CollectionRun, task: FetchTask, left_out: list[LeftOut] | None = None
) -> list[FundingRow]:
    """The regular settlements of the task's window, ascending."""
    parse = partial(parse_funding, task.market)
    return list(await _fetch_history(run, task, parse, left_out))


async def _fetch_history(
    run: CollectionRun,
    task: FetchTask,
    parse: Callable[[bytes], AnswerPage[Row]],
    left_out: list[LeftOut] | None,
) -> Sequence[Row]:
    """The rows of the task's window, or of as much of it as the exchange serves."""
    left: list[LeftOut] = []

    async def fetch(task: FetchTask) -> Sequence[Row]:
        found: list[LeftOut] = []
        rows = await _fetch_window(run, task, parse, found)
        left[:] = found
        return rows

    rows = await run.horizons.fetch(task, fetch)
    if left_out is not None:
        left_out += left
    return rows


async def _fetch_window(
    run: CollectionRun,
    task: FetchTask,
    parse: Callable[[bytes], AnswerPage[Row]],
    left_out: list[LeftOut],
) -> Sequence[Row]:
    """The rows of all pages. Where pages disagree, all of them are asked for once more; instants
    that they disagree on again are left out."""
    strategy = _BY_ORDER[endpoint_table(task.market.exchange, task.endpoint).order]
    pages: list[AnswerPage[Row]] = await strategy(run, task, parse)
    if _disputed(pages, task):
        pages = await strategy(run, task, parse)
    rows, disputed = _joined(pages, task), _disputed(pages, task)
    if disputed:
        rows = [row for row in rows if task.instant(row[TIME]) not in disputed]
    for page in pages:
        left_out += [_placed(row, task) for row in page.left_out if _is_in(row, task)]
    left_out += [LeftOut(time_ms, _DISPUTED) for time_ms in sorted(disputed)]
    return rows


async def _page(
    run: CollectionRun,
    request: Request,
    parse: Callable[[bytes], AnswerPage[Row]],
    before: Sequence[AnswerPage[Row]],
) -> AnswerPage[Row]:
    """One page. An answer without any valid row is asked for again like an unreadable one, unless
    pages `before` it had some."""

    def parse_some(body: bytes) -> AnswerPage[Row]:
        page = parse(body)
        if len(page.rows) or not page.left_out or any(len(each.rows) for each in before):
            return page
        first = page.left_out[0]
        if len(page.left_out) == 1 and not first.after:
            return page  # a row that can be read and is invalid
        raise BadPayload(
            f"unexpected answer: none of its {page.sent} rows is valid: {first.text()}",
            exchange=request.exchange,
            endpoint=request.endpoint,
            market=request.symbol,
        )

    return await fetch_simple(run, request, parse_some)


async def fetch_forward(
    run: CollectionRun, task: FetchTask, parse: Callable[[bytes], AnswerPage[Row]]
) -> list[AnswerPage[Row]]:
    """Fetches pages oldest first, for an exchange that answers in ascending order.

    Requests again what a page lacks after its newest row and, with a period, before its oldest
    row, because exchanges do not document which end a short page omits. Only an empty answer
    shows that a window is a hole.
    """
    table = endpoint_table(task.market.exchange, task.endpoint)
    next_ms = task.gap_ms if task.period is not None else 1
    pages: list[AnswerPage[Row]] = []
    windows = [(task.start_ms, task.end_ms)]
    window_kind = (task.market.exchange, task.endpoint, task.period)
    came_short = False
    for _ in _page_numbers(task, table.page_limit):
        start_ms, until_ms = windows.pop()
        end_ms, limit = task.page(start_ms, until_ms, table.page_limit)
        page = await _page(run, _page_request(task, start_ms, end_ms, limit), parse, pages)
        page = _within(page, task, (start_ms, end_ms), pages)
        pages.append(page)
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
            return pages
    raise task.bad_payload("paging did not end: no page was the last one")


async def fetch_backward(
    run: CollectionRun, task: FetchTask, parse: Callable[[bytes], AnswerPage[Row]]
) -> list[AnswerPage[Row]]:
    """Fetches pages newest first, for an exchange that answers in descending order.

    After a page comes what it lacks after its newest row, then what is before its oldest row,
    until the start is reached or enough rows are there. Only an empty answer shows that a window
    is a hole. Cursors are not used, as they may repeat.
    """
    table = endpoint_table(task.market.exchange, task.endpoint)
    next_ms = task.step_ms if task.period is not None else 1
    pages: list[AnswerPage[Row]] = []
    windows = [(task.start_ms, task.end_ms)]
    for _ in _page_numbers(task, table.page_limit):
        start_ms, end_ms = windows.pop()
        limit = min(table.page_limit, task.slots(start_ms, end_ms))
        page = await _page(run, _page_request(task, start_ms, end_ms, limit), parse, pages)
        page = _within(page, task, (start_ms, end_ms), pages)
        pages.append(page)
        if page.first_ms is not None and page.last_ms is not None:
            if not task.complete_before(page.first_ms, start_ms):
                windows.append((start_ms, page.first_ms - next_ms))
            if not task.complete_after(page.last_ms, end_ms):
                windows.append((page.last_ms + next_ms, end_ms))
        if not windows or _has_wanted(pages, task, before_ms=windows[-1][1]):
            return pages
    raise task.bad_payload("paging did not end: no page was the last one")


fetch_bybit_paginated = fetch_backward  # the public name


_BY_ORDER: Final[Mapping[Order, Callable[..., Awaitable[list[Any]]]]] = {
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
        as_of_ms=task.as_of_ms,
    )


def _has_wanted(pages: Sequence[AnswerPage[Row]], task: FetchTask, before_ms: int) -> bool:
    """Whether the pages after `before_ms` have as many of the newest rows as are wanted."""
    newer = sum(len(page.rows) for page in pages if (page.first_ms or 0) > before_ms)
    return task.wanted is not None and newer >= task.wanted


def _page_numbers(task: FetchTask, page_limit: int) -> range:
    needed = -(-task.slots(task.start_ms, task.end_ms) // page_limit)
    return range(_PAGES_PER_NEEDED * needed + _SPARE_PAGES)


def _ends_with_extra(page: AnswerPage[Row]) -> bool:
    """Whether the last row sent is an extra charge, which is not in `rows`."""
    return page.last_ms is not None and (not page.rows or page.rows[-1][TIME] != page.last_ms)


def _joined(pages: Sequence[AnswerPage[Row]], task: FetchTask) -> Sequence[Row]:
    """All rows in the window, ascending and unique."""
    parts = [page.rows for page in pages if len(page.rows)]
    if parts and isinstance(parts[0], Columns):
        first, *others = cast(list[Columns[Row]], parts)
        whole = type(first).joined([first, *others]) if others else first
        return whole.between(task.start_ms, task.end_ms)
    rows = [row for page in parts for row in page if task.start_ms <= row[TIME] <= task.end_ms]
    return rows if len(parts) < 2 else sorted({row[TIME]: row for row in rows}.values())


def _disputed(pages: Sequence[AnswerPage[Row]], task: FetchTask) -> set[int]:
    """The instants with two different rows, on one page or on two that overlap.

    Pages with a period do not overlap, as each is cut to its window.
    """
    disputed = {time_ms for page in pages for time_ms in page.disputed}
    seen: dict[int, Row] = {}
    for page in pages:
        if not isinstance(page.rows, Columns):
            for row in page.rows:
                instant = task.instant(row[TIME])
                if seen.setdefault(instant, row)[1:] != row[1:]:
                    disputed.add(instant)
    return disputed


def _within(
    page: AnswerPage[Row],
    task: FetchTask,
    window: tuple[int, int],
    before: Sequence[AnswerPage[Row]],
) -> AnswerPage[Row]:
    """The page cut to the requested window, so that a row of a wrong time cannot end the paging.

    Rows far outside of it are left out. Raises BadPayload if the exchange ignored the window, as
    long as pages `before` do not show that it keeps to windows.
    """
    start_ms, end_ms = window
    if page.first_ms is None or page.last_ms is None:
        return page
    if start_ms <= page.first_ms and page.last_ms <= end_ms:
        return page
    # Exchanges may add a row or two at either end.
    slack_ms = end_ms - start_ms + 2 * task.step_ms
    every = (
        page.rows.times.tolist()
        if isinstance(page.rows, Columns)
        else [row[TIME] for row in page.rows]
    )
    near = range(start_ms - slack_ms, end_ms + slack_ms + 1)
    far = [LeftOut(time_ms, _OUTSIDE) for time_ms in every if time_ms not in near]
    ignored = page.last_ms < start_ms or page.first_ms > end_ms
    if ignored and not (len(far) == len(every) and any(len(each.rows) for each in before)):
        raise task.bad_payload(f"rows {_OUTSIDE}")
    rows = (
        page.rows.between(start_ms, end_ms)
        if isinstance(page.rows, Columns)
        else [row for row in page.rows if start_ms <= row[TIME] <= end_ms]
    )
    # A row off the grid counts as the one it lies behind, as on a page inside of its window.
    grid_ms = task.step_ms if task.period is not None else 1
    on_their_grid = (row.time_ms - row.time_ms % grid_ms for row in page.left_out)
    times: list[int] = [*page.disputed, *on_their_grid]
    if len(rows):
        times += [rows[0][TIME], rows[-1][TIME]]
    if task.period is None:
        times += [page.first_ms, page.last_ms]  # an extra charge is sent but not in `rows`
    inside = [time_ms for time_ms in times if start_ms <= time_ms <= end_ms]
    return page._replace(
        rows=rows,
        first_ms=min(inside, default=None),
        last_ms=max(inside, default=None),
        left_out=(*page.left_out, *far),
    )


def _is_in(row: LeftOut, task: FetchTask) -> bool:
    """Whether a row left out is of the task's window; one of unknown time counts as in it."""
    end_ms = task.end_ms if task.period is None else task.end_ms + task.step_ms - 1
    unplaced = row.after or row.reason == _OUTSIDE
    return unplaced or task.start_ms <= row.time_ms <= end_ms


def _placed(row: LeftOut, task: FetchTask) -> LeftOut:
    """One of unknown time that was sent before any good row: after the start of the window."""
    if not row.after or row.time_ms:
        return row
    before_ms = task.start_ms - (task.step_ms if task.period is not None else 0)
    return row._replace(time_ms=before_ms)
