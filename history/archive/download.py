"""Download: brings what the archive has of some series and of a range of time, file by file.

Monthly files for whole months, daily ones for the rest, and for the days that a monthly one lacks.
What was imported with the ETag that the archive lists is not asked for again. No state but the
noted files decides what is to be done, so that a killed run loses the files under way alone.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from database import ArchiveFile, Database
from history.archive.download_errors import FileRefused, HostAway, NotThere
from history.archive.download_folder import Written
from history.archive.host import AT_ONCE, ArchiveHost
from history.archive.listing import ListedObject
from history.archive.wanted import ArchiveSeries, Period, told
from market.timeframes import DAY_MS

CHECKSUM: Final = ".CHECKSUM"
_CHECKSUM_LINE: Final = re.compile(rb"([0-9a-fA-F]{64})[ \t]+\*?([^\s/\\]+)\s*")
# A day's files come the next day, some hours to days late; a month's at the first Monday after it.
_DAYS_USUALLY_MS: Final = 2 * DAY_MS
_MONTHS_USUALLY_MS: Final = 8 * DAY_MS
_MOST_IN_A_ROW: Final = 3  # files that fail one after another, before the archive is given up


class Take(Protocol):
    """Imports a file whose checksum lies beside it, and notes it with `etag`, in one transaction.

    Returns why the file is refused, or None if it was imported.
    """

    async def __call__(self, path: Path, etag: str) -> str | None: ...


@dataclass(slots=True)
class Downloads:
    """What a run has done. `planned`, `planned_bytes`: files that were to be downloaded.

    `absent`: what the archive does not have, and `awaited`: what it may have soon. `refused`: the
    name of each file that was left out, with the reason.
    """

    known: int = 0
    planned: int = 0
    planned_bytes: int = 0
    imported: int = 0
    absent: dict[ArchiveSeries, list[Period]] = field(default_factory=dict)
    awaited: dict[ArchiveSeries, list[Period]] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def lines(self, told_before: Collection[str] = ()) -> Iterable[str]:
        """What to tell a user beside the counts, but for refused files that were told before."""
        for name, cause in self.refused:
            if name not in told_before:
                yield f"{name} is left out: {cause}"
        for series, periods in self.absent.items():
            yield f"{series}: the archive has no file of {told(periods)}"
        for series, periods in self.awaited.items():
            yield f"{series}: the archive has no file of {told(periods)} yet"


@dataclass(frozen=True, slots=True)
class _File:
    period: Period
    listed: ListedObject
    noted: ArchiveFile | None = None  # what was imported under this name

    @property
    def name(self) -> str:
        return self.listed.key.rpartition("/")[2]


_Fetched = Path | str | None


class Download:
    """One run. `folder` is empty, and this run's alone. `again`: also what is noted as imported.
    `tell`: called after each file."""

    def __init__(
        self, host: ArchiveHost, database: Database, folder: Path, take: Take, *,
        now_ms: int, dry_run: bool = False, again: bool = False,
        tell: Callable[[Downloads], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._host = host
        self._database = database
        self._folder = folder
        self._take = take
        self._now_ms = now_ms
        self._dry_run = dry_run
        self._again = again
        self._tell = tell
        self._importing = asyncio.Lock()
        self._failed_in_a_row = 0
        self.done = Downloads()

    async def run(self, series: Sequence[ArchiveSeries], from_ms: int, to_ms: int) -> Downloads:
        """Brings what is wanted from `from_ms` to before `to_ms`. Raises HostAway, CannotKeep,
        DatabaseUnavailable, and what `take` raises.

        The series of a market follow one another as they are given, candles before the open
        interest that their prices explain; several markets go on at once.
        """
        to_ms = min(to_ms, self._now_ms)
        markets: dict[str, list[ArchiveSeries]] = {}
        for one in series:
            markets.setdefault(one.symbol, []).append(one)
        waiting = deque(markets.values())

        async def work() -> None:
            while waiting:
                for one in waiting.popleft():
                    await self._bring(one, from_ms, to_ms)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(waiting))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            # The first is what happened; the others came of it, or are like it.
            raise errors.exceptions[0] from None
        return self.done

    async def _bring(self, series: ArchiveSeries, from_ms: int, to_ms: int) -> None:
        if from_ms >= to_ms:
            return
        months = await self._listed(series, series.months(from_ms, to_ms))
        refused = await self._bring_files(series, months)
        whole = [file.period for file in months if file.name not in refused]
        days = await self._days(series, whole, from_ms, to_ms)
        found = await self._listed(series, days)
        await self._bring_files(series, found)
        there = {file.period for file in found}
        wanted = series.months(from_ms, to_ms) if series.what == "funding" else days
        if series.what == "funding":
            there = {file.period for file in months}
        self._note_absent(series, [one for one in wanted if one not in there], whole)

    async def _days(
        self, series: ArchiveSeries, whole: Sequence[Period], from_ms: int, to_ms: int
    ) -> list[Period]:
        """The days that no monthly file has, and those that one lacks something of."""
        in_months = {day for month in whole for day in month.days}
        days = [day for day in series.days(from_ms, to_ms) if day not in in_months]
        if self._dry_run:  # what a monthly file lacks is seen when it is imported
            return days
        for month in whole:
            if series.what == "funding":
                break
            gaps = await self._database.history.gaps(series.key, month.from_ms, month.to_ms)
            days += [
                day
                for day in month.days
                if any(begin < day.to_ms and day.from_ms < end for begin, end in gaps)
            ]
        return sorted(days)

    def _note_absent(
        self, series: ArchiveSeries, absent: Sequence[Period], whole: Sequence[Period]
    ) -> None:
        in_months = {day for month in whole for day in month.days}
        for one in absent:
            if one in in_months:
                continue  # the monthly file is the archive's word on that day
            usual_ms = _MONTHS_USUALLY_MS if one.monthly else _DAYS_USUALLY_MS
            is_early = one.to_ms + usual_ms > self._now_ms
            noted = self.done.awaited if is_early else self.done.absent
            noted.setdefault(series, []).append(one)

    async def _listed(self, series: ArchiveSeries, periods: Sequence[Period]) -> list[_File]:
        """The files of these periods, which ascend, that the archive lists."""
        if not periods:
            return []
        prefix = series.folder(monthly=periods[0].monthly) + series.stem
        first, last = periods[0], periods[-1]
        span = (last.to_ms - first.from_ms) // DAY_MS
        most = 2 * (span // 28 + 1 if first.monthly else span)  # each with its checksum
        listed = await self._host.listed(prefix, first.text, last.text, most)
        by_key = {item.key: item for item in listed}
        found = ((one, by_key.get(f"{prefix}{one.text}.zip")) for one in periods)
        return [_File(period, item) for period, item in found if item is not None]

    async def _bring_files(self, series: ArchiveSeries, files: Sequence[_File]) -> set[str]:
        """Downloads and imports those that are not noted as they are now; returns the names of
        those that could not be."""
        names = [] if self._again else [file.name for file in files]
        noted = await self._database.archive_files.find(names)
        files = [replace(file, noted=noted.get(file.name)) for file in files]
        new = [one for one in files if one.noted is None or one.noted.etag != one.listed.etag]
        self.done.known += len(files) - len(new)
        self.done.planned += len(new)
        self.done.planned_bytes += sum(file.listed.size for file in new)
        self._tell(self.done)
        refused: set[str] = set()
        if self._dry_run:
            return refused
        async with aclosing(_ahead(new, self._fetched)) as fetched:
            async for file, result in fetched:
                cause = await self._import(file, result) if isinstance(result, Path) else result
                if cause:
                    refused.add(file.name)
                    self.done.refused.append((file.name, cause))
                elif result is None:
                    self.done.known += 1
                else:
                    self.done.imported += 1
                self._tell(self.done)
        return refused

    async def _import(self, file: _File, path: Path) -> str | None:
        try:
            async with self._importing:
                return await self._take(path, file.listed.etag)
        finally:
            _remove(path)

    async def _fetched(self, file: _File) -> _Fetched:
        """The downloaded file with its checksum beside it; why it is left out; or None if it is
        the one that was imported. Raises HostAway when the archive failed some times in a row."""
        try:
            path = await self._checked(file)
        except HostAway as error:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= _MOST_IN_A_ROW:
                raise
            return str(error)
        except (NotThere, FileRefused) as error:
            return str(error)
        self._failed_in_a_row = 0
        return path

    async def _checked(self, file: _File) -> Path | None:
        path = self._folder / file.name
        try:
            return await self._checked_at(path, file)
        except BaseException:
            _remove(path)
            raise

    async def _checked_at(self, path: Path, file: _File) -> Path | None:
        for last in (False, True):
            text, sha256 = await self._checksum(file)
            if file.noted is not None and file.noted.sha256 == sha256:
                noted = replace(file.noted, etag=file.listed.etag)
                await self._database.archive_files.add(noted)
                return None
            found = await self._host.download(file.listed, path)
            if found == sha256:
                with Written(path.with_name(path.name + CHECKSUM)) as beside:
                    beside.write(text)
                return path
            if last:  # the first time it may have been replaced between the two requests
                break
        raise FileRefused(f"its sha256 is {found}, and its checksum says {sha256}: try later")

    async def _checksum(self, file: _File) -> tuple[bytes, str]:
        try:
            text = await self._host.checksum(file.listed.key)
        except NotThere:
            raise FileRefused("the archive has no checksum of it") from None
        found = _CHECKSUM_LINE.fullmatch(text)
        if found is None or found[2] != file.name.encode():
            raise FileRefused("what the archive has beside it is no checksum of it")
        return text, found[1].decode().lower()


async def _ahead(
    files: Sequence[_File], fetch: Callable[[_File], Awaitable[_Fetched]]
) -> AsyncGenerator[tuple[_File, _Fetched]]:
    """Each file with what `fetch` brings, in their order; some are fetched ahead."""
    running: deque[tuple[_File, asyncio.Task[_Fetched]]] = deque()
    rest = iter(files)

    async def fetched(file: _File) -> _Fetched:
        return await fetch(file)

    try:
        while True:
            while len(running) < AT_ONCE and (file := next(rest, None)) is not None:
                running.append((file, asyncio.create_task(fetched(file))))
            if not running:
                return
            first, task = running[0]
            result = await task
            running.popleft()
            yield first, result
    finally:
        for _, task in running:
            task.cancel()
        await asyncio.gather(*(task for _, task in running), return_exceptions=True)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(path.name + CHECKSUM).unlink(missing_ok=True)
