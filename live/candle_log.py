"""CandleLog: how the changes of an exchange's candle book lie in the hot store, for its readers.

`live:<exchange>:log` is a stream of batches, `<n>-0` with fields `writer` and `changes`; n counts
from 1 without a gap, and the oldest are removed beyond a length. `live:<exchange>:forming` is one
value, the forming candles after batch n. What is told of trades stands beside: in the field
`trades` of a batch, and at `live:<exchange>:forming:trades`; earlier releases pass it over. All
belong to one writer, named by its lease `lock:live:<exchange>`: another writer begins them anew,
and a batch is refused inside Redis unless the lease is held. The script that reads gives them as of
one instant.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import structlog

from live.candle_changes import Change, FormingCandle
from live.candle_trades import CandleTrades
from live.distrusted_epochs import NONE, Distrusted, distrusted_key, distrusted_of
from live.feed_state import feed_name
from stores.hot.leases import Lease, lock_key
from stores.hot.replies import elements, list_of, one_of, text, whole_number
from stores.hot.store import HotStore

BATCH_S: Final = 0.25  # the age of the oldest change that is not sent yet
FORMING_S: Final = 5.0  # between two times that the forming candles are sent
KEPT_BATCHES: Final = 1500  # more than an hour: 20 a close, 75 s of them where closings are slow
_MOST_PENDING: Final = 10_000  # changes; while the store is away
_KEPT_MS: Final = 3_600_000  # after the last batch
_FORMING_MS: Final = 20_000  # after they were sent: then nobody takes them for those of now
_READ_BATCHES: Final = 100  # by one command
_READ_BYTES: Final = 2_000_000

log = structlog.get_logger(__name__)

# append(lock, log, forming, its trades; lease, writer, id, id before, changes, forming, most
# batches, ttl, ttl of forming, trades, trades of forming). Without changes only the forming candles
# are replaced, after the batch `id`.
# Returns 'ok' (also if the batch is there already), 'lost', or 'gap' if the log does not end with
# the batch before.
_APPEND: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
local last = redis.pcall('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
last = not last.err and last[1]
local ours = last and last[2][2] == ARGV[2]
local at = ours and last[1] or '0-0'
if at ~= ARGV[3] then
  if at ~= ARGV[4] or ARGV[5] == '' then return 'gap' end
  if not ours then redis.call('UNLINK', KEYS[2], KEYS[3]) end
  local batch = {'writer', ARGV[2], 'changes', ARGV[5]}
  if ARGV[10] ~= '' then batch[5], batch[6] = 'trades', ARGV[10] end
  redis.call('XADD', KEYS[2], 'MAXLEN', '=', ARGV[7], ARGV[3], unpack(batch))
  redis.call('PEXPIRE', KEYS[2], ARGV[8])
end
if ARGV[6] ~= '' then redis.call('SET', KEYS[3], ARGV[6], 'PX', ARGV[9]) end
if ARGV[11] ~= '' then redis.call('SET', KEYS[4], ARGV[11], 'PX', ARGV[9]) end
return 'ok'
"""
_APPENDED: Final = one_of(b"ok", b"lost", b"gap")

# read(lock, log, forming, its trades, distrusted; writer, id, most batches, most bytes, whether
# trades are wanted or ''): the batches of that writer from `id` on, or all of another writer's.
# Returns {the lock's value or '', the forming candles or '', {{id, writer, changes, trades}, ...},
# whether there are more, the distrusted epochs or '', the trades of the forming candles or ''}.
_READ: Final = """
local function batches(from, most)
  local found = redis.pcall('XRANGE', KEYS[2], from, '+', 'COUNT', most)
  return found.err and {} or found
end
local function value(key)
  local found = redis.pcall('GET', key)
  return type(found) == 'string' and found or ''
end
local first, from = batches('-', 1)[1], '-'
if first and first[2][2] == ARGV[1] then from = ARGV[2] end
local sent, size, more = {}, 0, 0
for index, batch in ipairs(batches(from, ARGV[3])) do
  local changes, trades = batch[2][4] or '', ARGV[5] ~= '' and batch[2][6] or ''
  size = size + #changes + #trades
  if index > 1 and size > tonumber(ARGV[4]) then more = 1 break end
  sent[index] = {batch[1], batch[2][2] or '', changes, trades}
end
if #sent == tonumber(ARGV[3]) then more = 1 end
local forming = ARGV[5] ~= '' and value(KEYS[4]) or ''
return {value(KEYS[1]), value(KEYS[3]), sent, more, value(KEYS[5]), forming}
"""
_FOUND: Final = elements(
    *(text, text, list_of(elements(text, text, text, text)), whole_number(0, 1), text, text)
)

_ENCODER: Final = msgspec.json.Encoder()
_CHANGES: Final = msgspec.json.Decoder(list[Change])


class _Forming(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The forming candles after batch `number` of a writer."""

    writer: str
    number: int
    candles: list[FormingCandle]


class _FormingTrades(msgspec.Struct, array_like=True):
    """The trades of the forming candles after batch `number` of a writer."""

    writer: str
    number: int
    trades: list[CandleTrades]


_FORMING: Final = msgspec.json.Decoder(_Forming)
_FORMING_TRADES: Final = msgspec.json.Decoder(_FormingTrades)
_TRADES: Final = msgspec.json.Decoder(list[CandleTrades])


class LogBatch(NamedTuple):
    """Batch `number` of a writer; `changes` is None where they cannot be read. `trades`: of candles
    among them."""

    writer: str
    number: int
    changes: list[Change] | None
    trades: Sequence[CandleTrades] = ()


class LogPage(NamedTuple):
    """What a read found. `holder`: the beginning of the writer's name that holds the lease now, ''
    if none does. `forming`: those of (writer, number), None without any. `has_more`: read again.
    `distrusted`: connections of a writer."""

    holder: str
    batches: Sequence[LogBatch]
    forming: tuple[str, int, list[FormingCandle]] | None
    has_more: bool
    distrusted: Distrusted = NONE
    forming_trades: Sequence[CandleTrades] = ()


class CandleLogWriter:
    """Writes one exchange's log under its lease. `add` is what a CandleBook tells its changes to,
    and `add_trades` what it tells its trades to.

    The log begins anew, and readers with nothing proven, when the writer begins, when the store has
    lost the log's end, and when more than `_MOST_PENDING` changes have waited (`restarts`).
    """

    def __init__(
        self, store: HotStore, lease: Lease, exchange: str, *, kept_batches: int = KEPT_BATCHES
    ) -> None:
        self.restarts = 0
        self._exchange = exchange
        self._lease = lease
        self._append = store.script("append", _APPEND)
        self._keys = _keys(exchange)
        self._kept_batches = kept_batches
        self._number = 0  # of the last batch that was made
        self._changes: list[Change] = []
        self._trades: list[CandleTrades] = []
        # The changes and trades of that batch, until it is there.
        self._unanswered: tuple[bytes, bytes] | None = None

    @property
    def feed(self) -> str:
        """The beginning of its name, which stays."""
        return _writer_of(self._lease.value)

    @property
    def name(self) -> str:
        """The writer of the log as it is now."""
        return f"{self.feed} {self.restarts}"

    def add(self, change: Change) -> None:
        if len(self._changes) >= _MOST_PENDING:
            log.warning("candle_log_overflow", exchange=self._exchange, dropped=len(self._changes))
            self._begin_anew()
        self._changes.append(change)

    def add_trades(self, trades: CandleTrades) -> None:
        """Of a candle that was added just now."""
        self._trades.append(trades)

    async def send(
        self,
        forming: Sequence[FormingCandle] | None = None,
        forming_trades: Sequence[CandleTrades] | None = None,
    ) -> None:
        """Sends what has been added since, in one command, and the forming candles if they are
        given; nothing to send: no command. The first call takes the log over in any case.

        Raises LeaseLost: nothing is written any more. Raises StoreUnavailable: the next call sends
        the same batch again, which is there once however often it is sent.
        """
        self._lease.check()
        if self._unanswered is not None:
            await self._write(self._unanswered)
        if self._changes or not self._number:
            trades = _ENCODER.encode(self._trades) if self._trades else b""
            self._unanswered = _ENCODER.encode(self._changes), trades
            self._changes, self._trades = [], []
            self._number += 1
        if self._unanswered is not None or forming is not None:
            await self._write(self._unanswered or (b"", b""), forming, forming_trades)

    def _begin_anew(self) -> None:
        self.restarts += 1
        self._number, self._changes, self._trades, self._unanswered = 0, [], [], None

    async def _write(
        self,
        batch: tuple[bytes, bytes],
        forming: Sequence[FormingCandle] | None = None,
        forming_trades: Sequence[CandleTrades] | None = None,
    ) -> None:
        name, number, (changes, trades) = self.name, self._number, batch
        value = told = b""
        if forming is not None:
            value = _ENCODER.encode(_Forming(name, number, list(forming)))
        if forming_trades is not None:
            told = _ENCODER.encode(_FormingTrades(name, number, list(forming_trades)))
        answer = await self._append.run(
            self._keys,
            [
                *(self._lease.value, name, f"{number}-0", f"{number - 1}-0", changes, value),
                *(self._kept_batches, _KEPT_MS, _FORMING_MS, trades, told),
            ],
            reply=_APPENDED,
        )
        self._lease.raise_if_lost(answer)
        if self.name != name:
            return  # it has begun anew meanwhile
        self._unanswered = None
        if answer == b"gap":
            log.warning("candle_log_lost", exchange=self._exchange, batch=number)
            waiting, their_trades = self._changes, self._trades
            self._begin_anew()
            self._number, self._changes, self._trades = 1, waiting, their_trades
            self._unanswered = changes or b"[]", trades
            await self._write(self._unanswered)


class CandleLogReader:
    """Reads one exchange's log from where it stopped; knows nothing of what the changes say.

    `trade_columns`: what is told of trades is read, too.
    """

    def __init__(self, store: HotStore, exchange: str, *, trade_columns: bool = False) -> None:
        self._wanted = "trades" if trade_columns else ""
        self._read = store.script("read", _READ)
        self._keys = [*_keys(exchange), distrusted_key(exchange)]

    async def read(self, writer: str, after: int) -> LogPage:
        """What follows batch `after` of the writer, or the log of another writer from its beginning
        on; one command. Raises StoreUnavailable."""
        holder, forming, batches, more, distrusted, forming_trades = await self._read.run(
            self._keys,
            [writer, f"{after + 1}-0", _READ_BATCHES, _READ_BYTES, self._wanted],
            reply=_FOUND,
        )
        found = [
            LogBatch(*_named(name, number), _decoded(changes), _trades(trades))
            for number, name, changes, trades in batches
        ]
        candles = _forming(forming)
        return LogPage(
            _writer_of(holder.decode(errors="replace")),
            found,
            candles,
            bool(more),
            distrusted_of(distrusted),
            _trades_of_forming(forming_trades, candles),
        )


def _keys(exchange: str) -> list[str]:
    name = feed_name(exchange)
    return [lock_key(name), f"{name}:log", f"{name}:forming", f"{name}:forming:trades"]


def _writer_of(lease: str) -> str:
    """`<token> <nonce>` of a lease's value; '' of none."""
    return " ".join(lease.split(" ", 2)[:2])


def _named(writer: bytes, batch_id: bytes) -> tuple[str, int]:
    number = batch_id.partition(b"-")[0]
    return writer.decode(errors="replace"), int(number) if number.isdigit() else 0


def _decoded(changes: bytes) -> list[Change] | None:
    try:
        return _CHANGES.decode(changes)
    except msgspec.MsgspecError:
        return None


def _trades(value: bytes) -> Sequence[CandleTrades]:
    """None of those that cannot be read, as a later release may write them."""
    try:
        return _TRADES.decode(value) if value else ()
    except msgspec.MsgspecError:
        return ()


def _trades_of_forming(
    value: bytes, forming: tuple[str, int, list[FormingCandle]] | None
) -> Sequence[CandleTrades]:
    """Those that were written with the forming candles."""
    try:
        found = _FORMING_TRADES.decode(value) if value else None
    except msgspec.MsgspecError:
        return ()
    is_theirs = (
        found is not None and forming is not None and forming[:2] == (found.writer, found.number)
    )
    return found.trades if found is not None and is_theirs else ()


def _forming(value: bytes) -> tuple[str, int, list[FormingCandle]] | None:
    try:
        found = _FORMING.decode(value)
    except msgspec.MsgspecError:
        return None
    return found.writer, found.number, found.candles
