"""The plan of an export: which files it has, and what in the folder speaks against it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from history.lake.errors import ExportError
from history.lake.folder import LakeFolder
from history.lake.freqtrade import FEES, Pair, freqtrade_files
from history.lake.layout import LakeFile, csv_file, groups, parquet_files
from history.lake.manifest import NAME, Manifest, exists
from history.lake.wanted import TIMEFRAMES, Wanted
from history.markets import find_markets
from market.timeframes import HOUR_MS
from stores.cold.history.series import SeriesKey
from stores.cold.history.tables import Snapshot
from timing.clock import utc_text


@dataclass(slots=True)
class Plan:
    """The files of an export, those of a group one after another.

    `begins`: of each file of Parquet since when the record has anything of its series, in ms.
    `left_out`: markets whose names cannot be part of a file's.
    """

    files: list[LakeFile] = field(default_factory=list)
    begins: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


async def resolve_symbols(snapshot: Snapshot, symbols: Sequence[str]) -> frozenset[str]:
    """The recorded symbols of these names, in any case. Raises ExportError for unknown ones."""
    found = await find_markets(snapshot, [(None, symbol) for symbol in symbols])
    if found.unknown:
        raise ExportError(f"nothing is recorded of {', '.join(found.unknown)}")
    return frozenset(market.symbol for market in found.markets)


async def plan_files(
    snapshot: Snapshot, wanted: Wanted, pairs: Mapping[tuple[str, str], Pair]
) -> Plan:
    """All files that the record may have rows for. `pairs`: the known markets, for freqtrade."""
    every = [
        key
        for key in await snapshot.series()
        if key.kind != "candles" or key.interval_ms in TIMEFRAMES
    ]
    keys = [key for key in every if wanted.has(key)]
    plan = Plan()
    if wanted.form == "parquet":
        for group in groups(keys):
            await _plan_months(snapshot, group, wanted, plan)
    elif wanted.form == "csv":
        for key in (key for group in groups(keys) for key in group):
            if (file := csv_file(key, wanted)) is not None:
                plan.files.append(file)
            else:
                plan.left_out.append(f"{key.exchange}:{key.symbol}")
    else:
        hours = _hours(every, wanted)
        ordered = [key for group in groups(keys) for key in group]
        plan.files, plan.left_out = freqtrade_files(ordered, hours, pairs, wanted)
    plan.left_out = sorted(set(plan.left_out))
    return plan


async def _plan_months(
    snapshot: Snapshot, group: tuple[SeriesKey, ...], wanted: Wanted, plan: Plan
) -> None:
    if (extent := await snapshot.extent(group)) is None:
        return
    for file in parquet_files(group, *extent, wanted):
        plan.files.append(file)
        plan.begins[file.path] = extent[0]


def _hours(every: Sequence[SeriesKey], wanted: Wanted) -> list[SeriesKey]:
    """The candles that freqtrade's mark prices are made from: of the markets whose funding is
    asked for."""
    assert FEES.interval_ms == HOUR_MS  # noqa: S101 - our own constant
    markets = {(key.exchange, key.symbol) for key in every if key.kind == "funding"}
    return sorted(
        key
        for key in every
        if (key.kind, key.interval_ms) == ("candles", HOUR_MS)
        and (key.exchange, key.symbol) in markets
        and wanted.has(SeriesKey.funding(key.exchange, key.symbol))
    )


def manifest_for(folder: LakeFolder, wanted: Wanted) -> Manifest:
    """The folder's manifest, or a new one. Raises ExportError if it is of an export that was asked
    for something else."""
    symbols = None if wanted.symbols is None else sorted(wanted.symbols)
    manifest = Manifest.read(folder)
    if manifest is None:
        return Manifest(wanted.form, symbols)
    if manifest.layout != wanted.form:
        raise ExportError(
            f"{folder.root} holds an export of --format {manifest.layout}: give another folder for"
            f" {wanted.form}"
        )
    if manifest.symbols != symbols:
        raise ExportError(
            f"{folder.root} holds an export of {_markets(manifest.symbols)}, and this one is of"
            f" {_markets(symbols)}: give another folder, or ask for the same"
        )
    return manifest


def _markets(symbols: Sequence[str] | None) -> str:
    if symbols is None:
        return "all markets"
    some = ", ".join(symbols[:5])
    return some if len(symbols) <= 5 else f"{some} and {len(symbols) - 5} more"


def check_folder(folder: LakeFolder, manifest: Manifest, files: Sequence[LakeFile]) -> None:
    """Raises ExportError if a file of the plan is there for another range, or is not ours."""
    for file in files:
        entry = manifest.files.get(file.path)
        if entry is not None and (entry.from_ms, entry.to_ms) != (file.from_ms, file.to_ms):
            raise ExportError(
                f"{file.path} was asked for {_range(entry.from_ms, entry.to_ms)}, and now for"
                f" {_range(file.from_ms, file.to_ms)}: give the same --from and --to, whole months,"
                " or another folder"
            )
        is_ours = entry is not None or file.path in manifest.writing
        if not is_ours and exists(folder.place(file.path)):
            raise ExportError(
                f"{folder.place(file.path)} is there, and {NAME} does not name it: it is not of an"
                " export. Move it away, or give another folder"
            )


def _range(from_ms: int, to_ms: int) -> str:
    return f"{utc_text(from_ms)} to {utc_text(to_ms)}"
