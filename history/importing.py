"""Importer: brings files of Binance's archive, and of our own exports, into the record.

An archive file is one transaction, with the note that it was imported; a file of an export several,
with the note in the last. So a kill costs the file under way, and what is imported again changes
nothing.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from database import (
    ArchiveFile,
    CursorMoved,
    DamagedRecord,
    Database,
    Filled,
    FillRows,
    SeriesKey,
    Source,
    write_archive_file,
)
from history.archive.container import Content, read_file
from history.archive.errors import ArchiveError, Refusals
from history.archive.funding import read_funding
from history.archive.klines import read_klines
from history.archive.metrics import read_metrics, snapshots
from history.archive.names import ArchiveName
from history.archive.rows import ArchiveRows
from history.exported.checking import check_rows
from history.exported.files import ExportedFile, checksum_of, read_manifest
from history.exported.pieces import ExportedRows
from history.exported.rows import read_rows
from history.price_help import PriceHelp
from history.windows import Windows
from market.rows import Floats, Times, located
from market.timeframes import MINUTE_MS
from stores.cold.pool import Connection

State = Literal["imported", "known", "refused"]
Indices = npt.NDArray[np.intp]

# Rows of exported files in one transaction.
_AT_ONCE: Final = 100_000


@dataclass(slots=True)
class FileReport:
    """What became of a file, in rows.

    `state`: "known" if it was imported before and is the same. `rows`: that it has. `left`: to the
    documents, which tell them. `differing`: of a dry run, stored with other values. `lacking`:
    instants of its span without a row. `refusals`: lines that were left out. `cause`: why the file
    was refused.
    """

    name: str
    state: State = "imported"
    rows: int = 0
    filled: Filled = field(default_factory=Filled)
    differing: int = 0
    left: int = 0
    doubled: int = 0
    zeros: int = 0
    after_end: int = 0
    forming: int = 0
    lacking: int = 0
    refusals: Refusals = field(default_factory=Refusals)
    notes: list[str] = field(default_factory=list)
    cause: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the file was refused or lost."""
        lost = self.filled.damaged or self.filled.refused
        return self.cause is None and not self.refusals.count and not lost

    def refuse(self, cause: str) -> None:
        self.state, self.cause = "refused", cause

    def counts(self) -> Iterator[tuple[int, str]]:
        """What there is to tell, each count with its words."""
        filled = self.filled
        told = (
            (filled.added, "added"),
            (filled.corrected, "corrected"),
            (filled.kept, "differ and stay as they are"),
            (self.differing, "differ"),
            (filled.unchanged, "unchanged"),
            (self.left, "left to the documents"),
            (self.refusals.count, "refused"),
            (filled.damaged, "lost to a damaged chunk"),
            (self.doubled, "doubles dropped"),
            (self.zeros, "zeros taken as missing"),
            (self.after_end, "after the settlement left out"),
            (self.forming, "not closed yet"),
            (self.lacking, "lacking in the file"),
        )
        return ((count, words) for count, words in told if count)


class Importer:
    """Imports files one by one; the caller gives them in their order (ArchiveName.order).

    `now_ms`: UTC ms. `require_checksum`: archive files without their CHECKSUM are refused. `again`:
    files that are known are imported again. `dry_run`: nothing is written. `beside`: archive files
    of this import, whose candles help to read metrics if the record lacks them.
    All methods raise DatabaseUnavailable; what was imported by then stays.
    """

    def __init__(
        self,
        database: Database,
        now_ms: Callable[[], int],
        *,
        require_checksum: bool = False,
        again: bool = False,
        dry_run: bool = False,
        beside: Sequence[tuple[ArchiveName, Path]] = (),
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._require_checksum = require_checksum
        self._again = again
        self._dry_run = dry_run
        self._windows = Windows(database.publishes)
        self._prices = PriceHelp(database.history, beside)
        self._manifests: dict[Path, Mapping[str, str]] = {}

    async def archive_file(
        self, path: Path, name: ArchiveName, *, etag: str | None = None
    ) -> FileReport:
        """Imports a file of the archive. `etag`: as the archive told it, to be noted."""
        report = FileReport(name.name)
        try:
            content = await asyncio.to_thread(
                read_file, path, name, require_checksum=self._require_checksum
            )
            if await self._is_known(name.name, content.sha256, etag):
                report.state = "known"
                return report
            rows = await self._read(content, name)
            await self._store_archive(report, rows, content, etag)
        except (ArchiveError, DamagedRecord) as error:
            report.refuse(str(error))
        return report

    async def exported_file(self, file: ExportedFile) -> FileReport:
        """Imports a file that `export` wrote, with the times since which its rows are known."""
        report = FileReport(file.name)
        try:
            sha256, size = await asyncio.to_thread(checksum_of, file.path)
            if file.root not in self._manifests:
                self._manifests[file.root] = await asyncio.to_thread(read_manifest, file.root)
            wanted = self._manifests[file.root].get(file.name, sha256)
            if wanted != sha256:
                raise ArchiveError(
                    f"its sha256 is {sha256}, and the manifest says {wanted}: export it again"
                )
            if await self._is_known(file.name, sha256, None):
                report.state = "known"
                return report
            await self._store_exported(report, file)
            # What is left to a later release, which reads its chunks, is not known.
            if not self._dry_run and report.is_whole:
                now_ms = self._now_ms()
                note = ArchiveFile(file.name, sha256, None, size, report.rows, now_ms)
                await self._database.archive_files.add(note)
        except (ArchiveError, DamagedRecord) as error:
            report.refuse(str(error))
        return report

    async def _is_known(self, name: str, sha256: str, etag: str | None) -> bool:
        known = (await self._database.archive_files.find([name])).get(name)
        if self._again or known is None or known.sha256 != sha256:
            return False
        if etag is not None and etag != known.etag and not self._dry_run:
            await self._database.archive_files.add(replace(known, etag=etag))
        return True

    async def _read(self, content: Content, name: ArchiveName) -> ArchiveRows:
        text, now_ms = content.text, self._now_ms()
        if name.kind == "klines":
            return await asyncio.to_thread(read_klines, text, name, now_ms)
        if name.kind == "fundingRate":
            return await asyncio.to_thread(read_funding, text, name, now_ms)
        labelled = await asyncio.to_thread(read_metrics, text, name)
        return snapshots(labelled, await self._prices.opens(name, now_ms), now_ms)

    async def _store_archive(
        self, report: FileReport, rows: ArchiveRows, content: Content, etag: str | None
    ) -> None:
        report.rows = len(rows.times)
        report.refusals, report.notes = rows.refusals, rows.notes
        for name in ("doubled", "zeros", "after_end", "forming", "lacking"):
            setattr(report, name, getattr(rows, name))
        now_ms = self._now_ms()
        note = ArchiveFile(report.name, content.sha256, etag, content.size, report.rows, now_ms)
        # A file with candles that had not closed is a part of what the archive will have.
        noted = None if rows.forming else note
        fills = await self._allowed(report, rows.key, rows.times, rows.values, None, now_ms)
        await self._fill(report, fills, "archive", now_ms, noted)

    async def _store_exported(self, report: FileReport, file: ExportedFile) -> None:
        waiting: list[FillRows] = []
        count = 0
        with closing(read_rows(file)) as pieces:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                waiting += await self._fills_of(report, file, piece)
                count += len(piece.times)
                if count >= _AT_ONCE:
                    await self._fill(report, waiting, "export", self._now_ms(), None)
                    waiting, count = [], 0
        await self._fill(report, waiting, "export", self._now_ms(), None)

    async def _fills_of(
        self, report: FileReport, file: ExportedFile, piece: ExportedRows
    ) -> list[FillRows]:
        key, now_ms = file.key(piece.symbol), self._now_ms()
        report.rows += len(piece.times)
        try:
            whole = FillRows(key, *_range(piece.times), piece.times, piece.values, piece.known_at)
            whole.check("export", now_ms)
            check_rows(key, piece)
        except ValueError as error:
            raise ArchiveError(
                f"its rows of {piece.symbol[:50]} cannot be stored: {error}"
            ) from None
        return await self._allowed(report, key, piece.times, piece.values, piece.known_at, now_ms)

    async def _allowed(
        self,
        report: FileReport,
        key: SeriesKey,
        times: Times,
        values: Floats,
        known_at: Times | None,
        now_ms: int,
    ) -> list[FillRows]:
        """What may be filled in: the rows that no document tells."""
        if key.kind == "funding":
            times, order = await self._as_recorded(key, times)
            report.doubled += len(values) - len(order)
            values, known_at = values[order], None if known_at is None else known_at[order]
        if not len(times):
            return []
        rows = FillRows(key, *_range(times), times, values, known_at)
        return await self._outside(report, rows, now_ms)

    async def _outside(self, report: FileReport, rows: FillRows, now_ms: int) -> list[FillRows]:
        """The rows without those that documents tell, which are counted."""
        kept = ~await self._windows.left(rows.key, rows.times, now_ms)
        report.left += len(kept) - int(kept.sum())
        if not kept.any():
            return []
        known_at = None if rows.known_at is None else rows.known_at[kept]
        times, values = rows.times[kept], rows.values[kept]
        return [FillRows(rows.key, *_range(times), times, values, known_at)]

    async def _as_recorded(self, key: SeriesKey, times: Times) -> tuple[Times, Indices]:
        """The times of settlements, and the lines that they are of; of those that are recorded,
        the recorded ones, each once: one settlement may be some ms late here, and on time there."""
        if not len(times):
            return times, np.arange(0)
        async with self._database.history.snapshot() as snapshot:
            found = (
                await snapshot.versions(
                    [key], max(0, int(times[0]) - MINUTE_MS), int(times[-1]) + MINUTE_MS
                )
            )[key].times
        minutes, first = np.unique(found - found % MINUTE_MS, return_index=True)
        there, at = located(times - times % MINUTE_MS, minutes)
        exact = np.isin(times, found)
        recorded = times.copy()
        recorded[there & ~exact] = found[first[at[there & ~exact]]]
        order = np.lexsort((~exact, recorded))
        order = order[np.append(True, np.diff(recorded[order]) > 0)]
        return recorded[order], order

    async def _fill(
        self,
        report: FileReport,
        fills: Sequence[FillRows],
        source: Source,
        now_ms: int,
        noted: ArchiveFile | None,
    ) -> None:
        if self._dry_run:
            for each in fills:
                await self._compare(report, each)
            return
        while fills:
            within = partial(self._within, rows=fills, now_ms=now_ms, noted=noted)
            try:
                filled = await self._database.history.fill(fills, source, now_ms, within=within)
            except CursorMoved:  # a document has just come that tells some of the rows
                fills = [
                    some for each in fills for some in await self._outside(report, each, now_ms)
                ]
                continue
            report.filled += filled
            if noted is not None and (filled.damaged or filled.refused):
                # What was left out is to be imported again, by the release that can.
                await self._database.archive_files.add(replace(noted, sha256="", etag=None))
            return
        if noted is not None:
            await self._database.archive_files.add(noted)

    async def _within(
        self,
        connection: Connection,
        *,
        rows: Sequence[FillRows],
        now_ms: int,
        noted: ArchiveFile | None,
    ) -> None:
        await self._windows.check(rows, now_ms, connection)
        if noted is not None:
            await write_archive_file(connection, noted)

    async def _compare(self, report: FileReport, rows: FillRows) -> None:
        """What storing the rows would change."""
        async with self._database.history.snapshot() as snapshot:
            found = (await snapshot.versions([rows.key], rows.from_ms, rows.to_ms))[rows.key]
        there, at = located(rows.times, found.times)
        ours, theirs = found.values[at[there]], rows.values[there]
        same = ((ours == theirs) | (np.isnan(ours) & np.isnan(theirs))).all(axis=1)
        report.filled += Filled(added=int((~there).sum()), unchanged=int(same.sum()))
        report.differing += int((~same).sum())


def _range(times: Times) -> tuple[int, int]:
    """From the first to after the last of the times."""
    if not len(times):
        raise ValueError("no rows")
    return int(times[0]), int(times[-1]) + 1
