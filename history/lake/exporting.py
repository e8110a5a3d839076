"""Exporter: writes the files of an export that are not there yet, or no longer right."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from history.lake.errors import ExportError
from history.lake.folder import LakeFolder, Replacement
from history.lake.freqtrade import Pair
from history.lake.layout import LakeFile
from history.lake.manifest import Entry, Manifest, exists
from history.lake.merging import merged
from history.lake.plan import Plan, check_folder, manifest_for, plan_files
from history.lake.reading import Batch, MarketRows, read_batches, rows_gone
from history.lake.wanted import Wanted
from history.lake.writing import RowWriter, check_packages, open_writer
from stores.cold.history.tables import HistoryTables

# How much of its work an export may do again after a kill.
_SAVE_EVERY_S: Final = 5.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did, in files; `rows` and `bytes`: of the files that were written."""

    written: int = 0
    unchanged: int = 0
    removed: int = 0
    rows: int = 0
    bytes: int = 0

    def __add__(self, other: "Exported") -> "Exported":
        return Exported(
            self.written + other.written,
            self.unchanged + other.unchanged,
            self.removed + other.removed,
            self.rows + other.rows,
            self.bytes + other.bytes,
        )

    def text(self) -> str:
        size = f" ({self.rows} rows, {self.bytes / 1e6:.1f} MB)" if self.written else ""
        removed = f", {self.removed} removed" if self.removed else ""
        files = "file" if self.written == 1 else "files"
        return f"{self.written} {files} written{size}, {self.unchanged} unchanged{removed}"


_NOTHING: Final = Exported()
_UNCHANGED: Final = Exported(unchanged=1)


async def export(
    tables: HistoryTables,
    root: Path,
    wanted: Wanted,
    as_of_ms: int,
    *,
    pairs: Mapping[tuple[str, str], Pair] | None = None,
    verify: bool = False,
    tell: Tell = lambda line: None,
) -> Exported:
    """Brings the export in `root` to what the record tells of `as_of_ms`.

    `pairs`: the known markets, for freqtrade's names. `verify`: read every file that is there, to
    see whether it still is as it was written. `tell` gets a line for each group of files. Whatever
    ends it, what is there stays readable, and the next export goes on. Raises ExportError,
    DatabaseUnavailable.
    """
    check_packages(wanted.form)
    folder = LakeFolder(root)
    with folder.locked():
        manifest = manifest_for(folder, wanted)
        # Should the clock have gone back: what was told before stays told.
        as_of_ms = max(as_of_ms, manifest.as_of_ms or 0)
        async with tables.snapshot() as snapshot:
            plan = await plan_files(snapshot, wanted, pairs or {})
        for name in plan.left_out:
            tell(f"left out: {name}, whose name cannot be part of a file's")
        exporter = Exporter(tables, folder, manifest, plan, as_of_ms, verify=verify, tell=tell)
        return await exporter.run(wanted)


class Exporter:
    """One export into a folder that is locked for it."""

    def __init__(
        self,
        tables: HistoryTables,
        folder: LakeFolder,
        manifest: Manifest,
        plan: Plan,
        as_of_ms: int,
        *,
        verify: bool,
        tell: Tell,
    ) -> None:
        self._tables = tables
        self._folder = folder
        self._manifest = manifest
        self._plan = plan
        self._as_of_ms = as_of_ms
        self._verify = verify
        self._tell = tell
        self._saved_s = 0.0

    async def run(self, wanted: Wanted) -> Exported:
        folder, manifest, files = self._folder, self._manifest, self._plan.files
        await asyncio.to_thread(check_folder, folder, manifest, files)
        folder.remove_leftovers(file.path for file in files)
        # Named before the first of them is there, so that a kill leaves no file of unknown origin.
        manifest.writing |= {file.path for file in files}
        self._save()
        try:
            done = await self._write_groups(wanted)
            self._forget_gone()
            manifest.writing.clear()
            manifest.as_of_ms = self._as_of_ms
        except BaseException:
            with contextlib.suppress(ExportError):  # the disk is full, as was told before
                self._save()
            raise
        self._save()
        return done

    async def _write_groups(self, wanted: Wanted) -> Exported:
        total, of_group, group = _NOTHING, _NOTHING, ""
        for file in self._plan.files:
            if file.group != group:
                self._tell_group(group, of_group)
                group, of_group = file.group, _NOTHING
            found = await self._bring_up_to_date(wanted, file)
            total, of_group = total + found, of_group + found
            if time.monotonic() - self._saved_s > _SAVE_EVERY_S:
                self._save()
        self._tell_group(group, of_group)
        return total

    def _tell_group(self, group: str, done: Exported) -> None:
        if done != _NOTHING:
            self._tell(f"{group}: {done.text()}")

    def _save(self) -> None:
        self._manifest.save(self._folder)
        self._saved_s = time.monotonic()

    async def _bring_up_to_date(self, wanted: Wanted, file: LakeFile) -> Exported:
        """Writes the file, unless it has what the record has."""
        entry = self._manifest.files.get(file.path)
        is_intact = await asyncio.to_thread(
            self._manifest.is_intact, self._folder, file.path, verify=self._verify
        )
        async with self._tables.snapshot() as snapshot:
            state = await snapshot.state(file.keys, file.from_ms, file.to_ms)
            # What is known later is not told now, and so must be looked at again.
            is_all_told = (state.newest_ms or 0) <= self._as_of_ms
            mark = state.mark if is_all_told else ""
            if entry is not None and is_intact and mark and mark == entry.state:
                self._keep(file, entry, mark)
                return _UNCHANGED
            if entry is None and state.newest_ms is None:
                return _NOTHING
            old = await asyncio.to_thread(self._old_rows, wanted, file, is_intact=is_intact)
            batches = read_batches(snapshot, file, self._as_of_ms)
            if old is not None:
                batches = merged(old, batches, partial(rows_gone, snapshot, file))
            with self._folder.replacing(file.path) as replacement:
                writer = open_writer(wanted.form, replacement.file, file)
                tally = await _write_all(writer, batches)
                unlike = entry if is_intact else None
                return await asyncio.to_thread(self._settle, file, replacement, tally, mark, unlike)

    def _settle(
        self,
        file: LakeFile,
        replacement: Replacement,
        tally: "_Tally",
        mark: str,
        entry: Entry | None,
    ) -> Exported:
        """Puts what was written in its place, if it differs from what `entry` tells of."""
        if not tally.rows:
            had = self._manifest.files.pop(file.path, None)
            self._folder.remove(file.path)
            return _NOTHING if had is None else Exported(removed=1)
        sha256, size = replacement.digest()
        if entry is not None and entry.sha256 == sha256:
            self._keep(file, entry, mark)
            return _UNCHANGED
        self._manifest.files[file.path] = Entry(
            rows=tally.rows,
            bytes=size,
            sha256=sha256,
            first=tally.first_ms,
            last=tally.last_ms,
            newest_known_at=tally.newest_ms,
            as_of=self._as_of_ms,
            from_ms=file.from_ms,
            to_ms=file.to_ms,
            state=mark,
            changed_ns=replacement.commit(),
        )
        return Exported(written=1, rows=tally.rows, bytes=size)

    def _keep(self, file: LakeFile, entry: Entry, mark: str) -> None:
        changed_ns = self._folder.place(file.path).stat().st_mtime_ns
        self._manifest.files[file.path] = msgspec.structs.replace(
            entry, as_of=self._as_of_ms, state=mark, changed_ns=changed_ns
        )

    def _old_rows(
        self, wanted: Wanted, file: LakeFile, *, is_intact: bool
    ) -> Iterator[MarketRows] | None:
        """The rows of a month's file of which retention may have removed some from the record: the
        lake keeps them. Of a month that goes on, only where the record begins within it."""
        begin_ms = self._plan.begins.get(file.path, 0)
        is_over = file.to_ms <= self._as_of_ms
        place = self._folder.place(file.path)
        if wanted.form != "parquet" or not exists(place):
            return None
        if not is_over and file.from_ms >= begin_ms:
            return None
        from history.lake.parquet import is_readable, written_rows

        # A file that a killed export has put there is in no manifest, and whole all the same.
        if not is_intact and not is_readable(place, file):
            self._tell(f"{file.path} was damaged: what only it had is lost")
            return None
        return written_rows(place, file)

    def _forget_gone(self) -> None:
        """Forgets files that are no longer there, and of which the record has nothing."""
        for path in list(self._manifest.files):
            if not exists(self._folder.place(path)):
                del self._manifest.files[path]
                self._tell(f"{path} is gone, and the record has no rows for it any more")


@dataclass(frozen=True, slots=True)
class _Tally:
    """What was written, in rows, from the first to the last time, in ms."""

    rows: int = 0
    first_ms: int = 2**63 - 1
    last_ms: int = 0
    newest_ms: int = 0

    def with_batch(self, batch: Batch) -> "_Tally":
        return replace(
            self,
            rows=self.rows + sum(map(len, batch)),
            first_ms=min(self.first_ms, *(int(rows.times[0]) for rows in batch)),
            last_ms=max(self.last_ms, *(int(rows.times[-1]) for rows in batch)),
            newest_ms=max(self.newest_ms, *(int(rows.known_at.max()) for rows in batch)),
        )


async def _write_all(writer: RowWriter, batches: AsyncGenerator[Batch, None]) -> _Tally:
    """Writes the batches in a thread, each while the next one is read."""
    tally, writing = _Tally(), asyncio.Future[None]()
    writing.set_result(None)
    loop = asyncio.get_running_loop()
    try:
        async with contextlib.aclosing(batches):
            async for batch in batches:
                await asyncio.shield(writing)
                tally = tally.with_batch(batch)
                writing = loop.run_in_executor(None, writer.write, batch)
        await asyncio.shield(writing)
        writing = loop.run_in_executor(None, writer.end)
        await asyncio.shield(writing)
    finally:
        await _ended(writing)  # the file is closed next
    return tally


async def _ended(writing: "asyncio.Future[None]") -> None:
    if not writing.done():
        await asyncio.wait((writing,))
    if not writing.cancelled():
        writing.exception()  # raised where it was awaited, or after something else
