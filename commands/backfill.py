"""`backfill`: asks the exchanges for older data here and now, or tells what that would cost."""

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from commands.composition import holder_name, open_database, open_job_context
from commands.data_dir import remember_exchanges
from commands.errors import EXIT_COMPLETE, EXIT_FAILED, CommandError
from commands.foreground import run_here
from commands.runtime import cancelled_by, tune_garbage_collection
from commands.store_check import StoreCheck
from commands.terminal import say
from config import Settings
from database import BackfillWish
from history.backfill.cost import Cost, Costs
from history.backfill.requesting import Pricing, TooManyOpen, request_backfill, targets_of
from history.backfill.wanted import Wanted, wish
from jobs.backfill import JOB_ID
from stores.hot.opening import open_hot_store
from timing.clock import now_ms
from workers.hosts import addresses_alive

_HEAD: Final = ("exchange", "what", "requests", "minutes", "rows", "MB")


class BackfillError(CommandError):
    """The command's arguments cannot be done; the message names what is allowed."""


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Stores the wish, and works on it under the lane's lease; see foreground.run_here for the exit
    codes. 1 if it failed. Raises BackfillError."""
    try:
        wanted = wanted_of(settings, arguments)
    except ValueError as error:
        raise BackfillError(str(error)) from None
    if arguments.dry_run:
        return await cancelled_by(stop, _tell_cost(settings, wanted))
    remember_exchanges(settings)
    async with open_job_context(settings, JOB_ID) as context:
        tune_garbage_collection()
        await StoreCheck(settings, context.store, own=settings.embeds_hot_store).once()
        try:
            if await context.database.get_all_unique_coins(**context.selection):
                await targets_of(
                    context.database,
                    wanted,
                    quote=settings.quote,
                    markets_limit=settings.markets_limit,
                )
            found = await request_backfill(context.database, wanted, now_ms())
        except (ValueError, TooManyOpen) as error:
            raise BackfillError(str(error)) from None
        wait = not arguments.no_wait
        code = await run_here(context, JOB_ID, holder=holder_name(), wait=wait, stop=stop)
        ended = await context.database.backfills.find(found.id) or found
    for line in _ending(ended):
        say(line)
    return EXIT_FAILED if code == EXIT_COMPLETE and ended.state != "complete" else code


def wanted_of(settings: Settings, arguments: argparse.Namespace) -> Wanted:
    """The wish of the command line. Raises ValueError."""
    return wish(
        exchanges=arguments.exchange,
        symbols=arguments.symbol,
        timeframes=arguments.timeframe,
        what=arguments.what,
        from_ms=arguments.from_ms,
        to_ms=arguments.to_ms,
        collected=settings.exchanges,
        usual=settings.timeframes,
        now_ms=now_ms(),
    )


async def _tell_cost(settings: Settings, wanted: Wanted) -> int:
    pricing = Pricing(settings, now_ms(), await _addresses(settings))
    async with open_database(settings) as database:
        try:
            targets = await targets_of(
                database, wanted, quote=settings.quote, markets_limit=settings.markets_limit
            )
        except ValueError as error:
            raise BackfillError(str(error)) from None
        costs = await pricing.exact(database, wanted, targets)
    say("\n".join(cost_lines(costs, len(targets))))
    return EXIT_COMPLETE


async def _addresses(settings: Settings) -> int:
    """From how many addresses it would be asked. A hot store of our own has one host."""
    if settings.schedules == "off" or settings.embeds_hot_store:
        return 1
    async with aclosing(open_hot_store(settings, client_name=JOB_ID)) as store:
        return await addresses_alive(store)


def cost_lines(costs: Costs, markets: int) -> list[str]:
    """A table of what is asked, and the sum of it in a line."""
    lines = costs.lines()
    if not markets:
        return ["no market is known yet: `python main.py collect 1d` looks them up"]
    if not lines:
        return [f"{markets} markets: nothing is lacking"]
    size = sum(line.bytes for line in lines) / 1e6
    rows = [_HEAD, *(_row(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    table = [
        "  ".join(
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    total = (
        f"{markets} markets: {costs.requests} requests, {costs.seconds / 60:.1f} minutes,"
        f" {sum(line.rows for line in lines)} rows, {size:.1f} MB"
    )
    return [*table, total]


def _row(line: Cost) -> Sequence[str]:
    return (
        str(line.exchange),
        line.name,
        str(line.requests),
        f"{line.seconds / 60:.1f}",
        str(line.rows),
        f"{line.bytes / 1e6:.1f}",
    )


def _ending(found: BackfillWish) -> list[str]:
    """What became of the wish, a line for each failure."""
    if found.state in ("queued", "running"):
        return [
            f"backfill {found.id} is not done: it goes on with the next start of a service, or of"
            " this command"
        ]
    first = f"backfill {found.id} {found.state}: {found.rows} rows, {found.requests} requests"
    return [first, *(f"{name}: {cause}" for name, cause in found.failures.items())]
