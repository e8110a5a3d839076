"""The file of COLLECTORS: reads its collectors from TOML, and names every mistake in it."""

import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from live.configured.definition import NAME, NAME_RULE, CollectorDefinition
from live.configured.rules import (
    DATA_TYPES,
    DEEPEST_BOOK,
    check_timeframe,
    native_symbol,
    told,
    too_many,
)
from live.data_types import DataType, DataValidationError
from live.exchange_collector import BOOK_DEPTH
from live.exchanges import STREAM_VENUES
from live.outputs.kinds import OUTPUTS, check_outputs

LARGEST_BYTES: Final = 1_000_000
_MOST_TOLD: Final = 10  # mistakes of one field
_TABLE: Final = "collector"
_KEYS: Final = (
    *("name", "exchange", "symbols", "data_types", "timeframes", "book_depth", "outputs"),
    "enabled",
)
_DEFAULT_TIMEFRAME: Final = "1m"

Listed = TypeVar("Listed")


class WrongCollectors(Exception):
    """The file cannot be used; `lines` has one line for each mistake, with the file's name."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class CollectorFile:
    """What a file says. `path` is absolute, as it was given: a link stays a link; `modified_ms` is
    when it was last changed (UTC), no later than now."""

    path: Path
    modified_ms: int
    collectors: tuple[CollectorDefinition, ...]


def read_collector_file(path: Path) -> CollectorFile:
    """Reads and checks the file. Raises WrongCollectors."""
    content, modified_s = _content(path)
    try:
        found = tomllib.loads(content)
    except (ValueError, RecursionError) as error:  # of syntax, and of numbers without an end
        raise WrongCollectors([f"{path}: is not TOML: {error}"]) from None
    lines = [
        f"{path}: {told(key)} is unknown; there are only [[{_TABLE}]] tables"
        for key in found
        if key != _TABLE
    ]
    tables = found.get(_TABLE, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise WrongCollectors([*lines, f"{path}: {_TABLE}: write each as [[{_TABLE}]]"])
    definitions = []
    names: dict[str, int] = {}
    for number, table in enumerate(tables, 1):
        reader = _TableReader(table)
        definition = reader.read()
        name = table.get("name")
        title = name if definition is not None or reader.has_name() else f"number {number}"
        if isinstance(name, str) and names.setdefault(name, number) != number:
            reader.wrong("name", f"number {names[name]} has it, too: give each another")
        lines += [f"{path}: collector {title}: {line}" for line in reader.lines]
        if definition is not None:
            definitions.append(definition)
    if lines:
        raise WrongCollectors(lines)
    modified_ms = min(round(modified_s * 1000), time.time_ns() // 1_000_000)
    return CollectorFile(path.absolute(), modified_ms, tuple(definitions))


def _content(path: Path) -> tuple[str, float]:
    """The text of the file, and when it was changed."""
    try:
        if path.exists() and not path.is_file():  # a pipe might never end
            raise WrongCollectors([f"{path}: is no regular file"])
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
            modified_s = path.stat().st_mtime
        if len(content) > LARGEST_BYTES:
            raise WrongCollectors([f"{path}: is larger than {LARGEST_BYTES} bytes"])
        return content.decode("utf-8-sig"), modified_s
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise WrongCollectors([f"{path}: cannot be read: {reason}"]) from None


class _TableReader:
    """One [[collector]] table; `lines` are its mistakes, each with the field."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = table
        self.lines: list[str] = []

    def wrong(self, field: str, text: str) -> None:
        self.lines.append(f"{field}: {text}")

    def has_name(self) -> bool:
        name = self._table.get("name")
        return isinstance(name, str) and NAME.fullmatch(name) is not None

    def read(self) -> CollectorDefinition | None:
        """None if something is wrong with it."""
        for key in self._table:
            if key not in _KEYS:
                self.wrong(told(key), f"is unknown; there are {', '.join(_KEYS)}")
        if not self.has_name():
            self._missing_or("name", NAME_RULE)
        data_types = self._data_types()
        outputs = self._outputs(data_types)
        exchange = self._exchange()
        symbols = self._symbols(exchange, data_types) if exchange else {}
        timeframes = self._timeframes(exchange, data_types)
        book_depth = self._book_depth(exchange, data_types)
        enabled = self._table.get("enabled", True)
        if not isinstance(enabled, bool):
            self.wrong("enabled", f"{told(enabled)} is neither true nor false")
        if self.lines:
            return None
        return CollectorDefinition(
            *(self._table["name"], exchange, symbols, tuple(data_types), tuple(outputs)),
            *(tuple(timeframes), book_depth, enabled),
        )

    def _exchange(self) -> str:
        exchange = self._table.get("exchange")
        if isinstance(exchange, str) and exchange in STREAM_VENUES:
            return exchange
        self._missing_or("exchange", f"must be one of {', '.join(STREAM_VENUES)}")
        return ""

    def _data_types(self) -> list[str]:
        allowed = f"must be a list of {', '.join(DATA_TYPES)}, each once"

        def read(word: str) -> str:
            if word == DataType.BALANCE:
                raise ValueError(
                    "balance needs an account's keys, which the built-in collectors do not take"
                )
            if word not in DATA_TYPES:
                raise ValueError(f"{told(word)} is none of {', '.join(DATA_TYPES)}")
            return word

        return list(self._list("data_types", allowed, read))

    def _outputs(self, data_types: list[str]) -> list[str]:
        def read(word: str) -> str:
            try:
                check_outputs([word], [DataType(kind) for kind in data_types])
            except DataValidationError as error:
                raise ValueError(
                    str(error).removeprefix("output: ").removeprefix("output ")
                ) from None
            return word

        allowed = f"must be a list of {', '.join(OUTPUTS)}, each once"
        return list(self._list("outputs", allowed, read))

    def _symbols(self, exchange: str, data_types: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        written: dict[str, str] = {}

        def read(word: str) -> str:
            native = native_symbol(exchange, word)
            if native in written:
                raise ValueError(f"{told(word)} is the same market as {told(written[native])}")
            written[native] = word
            found[word] = native
            return word

        count = len(list(self._list("symbols", "must be a list of names such as BTC-USDT", read)))
        if (why := too_many(data_types, count)) is not None:
            self.wrong("symbols", why)
        return found

    def _timeframes(self, exchange: str, data_types: list[str]) -> list[str]:
        has_candles = DataType.CANDLE in data_types
        if "timeframes" not in self._table:
            return [_DEFAULT_TIMEFRAME] if has_candles else []
        if not has_candles and data_types:
            self.wrong("timeframes", "are of candles: add candle to data_types, or leave them out")

        def read(word: str) -> str:
            if exchange:
                check_timeframe(exchange, word)
            return word

        return list(self._list("timeframes", "must be a list of lengths such as 5m", read))

    def _book_depth(self, exchange: str, data_types: list[str]) -> int:
        if "book_depth" not in self._table:
            return BOOK_DEPTH
        depth = self._table["book_depth"]
        most = DEEPEST_BOOK.get(exchange, max(DEEPEST_BOOK.values()))
        if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= most:
            of = f", which are the levels of {exchange}" if exchange else ""
            self.wrong("book_depth", f"{told(depth)} is no whole number from 1 to {most}{of}")
            return BOOK_DEPTH
        if DataType.ORDERBOOK not in data_types and data_types:
            self.wrong(
                "book_depth", "is of order books: add orderbook to data_types, or leave it out"
            )
        return int(depth)

    def _list(self, field: str, allowed: str, read: Callable[[str], Listed]) -> Iterator[Listed]:
        """What `read` makes of the words of a list; what it raises is told, with the word."""
        words = self._table.get(field)
        if not isinstance(words, list) or not words:
            self._missing_or(field, allowed)
            return
        mistakes: list[str] = []
        seen: set[str] = set()
        for word in words:
            try:
                if not isinstance(word, str):
                    raise ValueError(f"{told(word)} is no text: {allowed}")
                if word in seen:
                    raise ValueError(f"{told(word)} is there twice")
                seen.add(word)
                yield read(word)
            except ValueError as error:
                mistakes.append(str(error))
        for mistake in mistakes[:_MOST_TOLD]:
            self.wrong(field, mistake)
        if len(mistakes) > _MOST_TOLD:
            self.wrong(field, f"and {len(mistakes) - _MOST_TOLD} more mistakes")

    def _missing_or(self, field: str, allowed: str) -> None:
        value = self._table.get(field)
        self.wrong(
            field, f"is missing; it {allowed}" if value is None else f"{told(value)} {allowed}"
        )
