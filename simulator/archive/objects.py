"""The archive's objects: the bytes of each file and of its checksum, with their ETags."""

import hashlib
import io
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Final

from simulator.archive.fault_kinds import FILE_KINDS, is_meant
from simulator.archive.names import CHECKSUM, KLINES, METRICS, ArchiveFile, first_day, parse_key
from simulator.archive.rows import header_of, rows_of
from simulator.binance.limits import NAME as BINANCE
from simulator.exchange_markets import ExchangeMarkets
from simulator.faults import FaultRules
from simulator.market import Market
from simulator.randomness import RecentlyUsed

_BODIES: Final = 200  # files kept in memory
_STAMP: Final = (1980, 1, 1, 0, 0, 0)  # in every zip, so that the same rows make the same bytes
_BOMB_BYTES: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its bytes, and since when it is there."""

    key: str
    body: bytes
    etag: str  # with its quotation marks
    modified_ms: int


class ArchiveObjects:
    """All objects of the archive at the exchange's time, made when they are asked for."""

    def __init__(self, markets: ExchangeMarkets, faults: FaultRules) -> None:
        self._markets = markets
        self._faults = faults
        self._made: RecentlyUsed[bytes] = RecentlyUsed(_BODIES)

    @property
    def now_ms(self) -> int:
        return self._markets.clock.now_ms(BINANCE)

    @property
    def markets(self) -> dict[str, Market]:
        """By symbol, delisted ones too: their files stay."""
        return self._markets.by_exchange[BINANCE]

    def find(self, key: str) -> StoredObject | None:
        """The object of a key, or None if there is none by now."""
        file = parse_key(key.removesuffix(CHECKSUM))
        if file is None:
            return None
        of_file = self.of_file(file)
        return next((item for item in of_file if item.key == key), None)

    def of_file(self, file: ArchiveFile) -> list[StoredObject]:
        """A file and its checksum; neither, if it is not there."""
        market = self.markets.get(file.symbol)
        appears_ms = file.appears_ms(self._markets.seed)
        if market is None or self.now_ms < appears_ms or file.first_day < _first(market, file):
            return []
        rules = self._faults.of_kinds(FILE_KINDS)
        kinds = frozenset(rule.kind for rule in rules if is_meant(rule, file))
        if "archive_missing" in kinds:
            return []
        # What changes a market's numbers changes its files in place.
        state = (tuple(market.corrections), len(market.withheld_oi), tuple(market.impossible))
        body = self._made.get(
            (file, kinds, state, market.relaunched_ms), lambda: self._make(market, file, kinds)
        )
        if not body:
            return []
        found = [_stored(file.key, body, appears_ms)]
        if "archive_no_checksum" not in kinds:
            summed = body + b"?" if "archive_checksum" in kinds else body
            line = f"{hashlib.sha256(summed).hexdigest()}  {file.name}.zip\n"
            found.append(_stored(file.key + CHECKSUM, line.encode(), appears_ms))
        return found

    def _make(self, market: Market, file: ArchiveFile, kinds: Collection[str]) -> bytes:
        rows = rows_of(
            market, file, self._markets.seed,
            draft="archive_draft" in kinds, zeros="archive_zeros" in kinds,
        )  # fmt: skip
        if not rows:
            return b""
        if "archive_bomb" in kinds:
            return _bomb(f"{file.name}.csv")
        if "archive_half" in kinds:
            rows = rows[: len(rows) // 2]
        # The very first file of metrics has every row twice (seen of BTCUSDT's).
        always = file.kind == METRICS and file.first_day == _first(market, file)
        if "archive_doubled" in kinds or always:
            rows = [row for row in rows for _ in range(2)]
        if "archive_disputed" in kinds:
            rows = [*rows, _other_value(rows[-1], file)]
        header = header_of(file)
        text = "\n".join([header, *rows] if header else rows) + "\n"
        inside = "../../" if "archive_path" in kinds else ""
        body = _zipped(f"{inside}{file.name}.csv", text.encode())
        return body[: len(body) // 2] if "archive_truncated" in kinds else body


def _first(market: Market, file: ArchiveFile) -> date:
    return first_day(file.folder, file.kind, file.symbol, market.candles.first_ms)


def _other_value(row: str, file: ArchiveFile) -> str:
    """The same row with another open interest, volume or rate."""
    values = row.split(",")
    place = 5 if file.kind == KLINES else 2
    sign, digits = ("-", values[place][1:]) if values[place][0] == "-" else ("", values[place])
    values[place] = f"{sign}1{digits}"
    return ",".join(values)


def _stored(key: str, body: bytes, modified_ms: int) -> StoredObject:
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return StoredObject(key, body, f'"{digest}"', modified_ms)


def _zipped(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name, _STAMP), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


@cache
def _bomb(name: str) -> bytes:
    return _zipped(name, bytes(_BOMB_BYTES))
