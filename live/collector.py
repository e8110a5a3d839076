"""BaseDataCollector: what every collector is made from. It keeps a user's connection alive.

A subclass says how to connect, subscribe and read; the base starts it, reads on and on, connects
again after failures, and hands the data points to callbacks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from inspect import isawaitable
from typing import Any, Final

from config import LiveSettings, load_live_settings
from live.callbacks import Callback
from live.data_types import (
    CollectorConfig,
    DataType,
    DataValidationError,
    MarketDataPoint,
    OHLCVData,
    read_data_type,
    read_data_types,
    read_seconds,
    read_symbol,
    read_symbols,
)
from live.lifecycle import Lifecycle
from live.log_files import get_logger
from metrics.collectors import CollectorMetrics, ErrorType
from texts.foreign import foreign_text
from timing.clock import Clock, SystemClock

_LOG_FAMILY: Final = "collector"  # collector_debug.log, collector_info.log ... hold all collectors


class BaseDataCollector(ABC):
    """The base of all collectors, the built-in ones and users' own.

    `symbols`: the exchange's or the user's names of markets. `data_types`: [DataType.CANDLE] if
    None. `component_name`: the name in log lines, `<exchange>_collector` if None; a given one has
    log files of its own. `auto_restart`: connect again for ever; without it, give up after
    MAX_RECONNECT_ATTEMPTS. `health_check_interval`: seconds between checks,
    DEFAULT_HEALTH_CHECK_INTERVAL if None. `settings`, `clock` and `metrics` are for programs that
    have them; by default the settings are read from the environment, and nothing is counted.

    How it stays alive
      - With `auto_restart` nothing ends it but `stop`. After MAX_RECONNECT_ATTEMPTS it says so
        (status `error`, and an issue in the health) and goes on at the slowest pace. The pauses
        grow from RECONNECT_DELAY to a minute, chosen by chance up to that (full jitter), and
        begin anew only when data have flowed for a minute.
      - No data at all for MAX_SILENCE_DURATION: it connects again. Silence is judged for all
        symbols together, as a market may be quiet for minutes.
      - Callbacks belong to the collector, not to a connection: a `disconnect` that clears
        `_data_callbacks` does not lose them.
      - Each method of the subclass has a deadline: 30 s to connect and to subscribe, 10 s to
        disconnect. `_handle_messages` has none but the silence: it may wait for a message.

    Raises DataValidationError for arguments that cannot be, SettingsError for such settings.
    """

    def __init__(
        self,
        exchange_name: str,
        symbols: Iterable[str],
        data_types: Iterable[DataType | str] | None = None,
        component_name: str | None = None,
        auto_restart: bool = True,
        health_check_interval: float | None = None,
        *,
        settings: LiveSettings | None = None,
        max_silence_s: float | None = None,
        clock: Clock | None = None,
        metrics: CollectorMetrics | None = None,
    ) -> None:
        settings = settings or load_live_settings()
        if not isinstance(exchange_name, str) or not exchange_name.strip():
            raise DataValidationError("exchange_name: must be a text, such as 'okx'")
        self.exchange_name = exchange_name
        self.symbols = read_symbols(symbols)
        self.data_types = read_data_types(data_types or [DataType.CANDLE])
        self.component_name = component_name or f"{exchange_name}_collector"
        self.auto_restart = auto_restart
        self.health_check_interval = read_seconds(
            "health_check_interval",
            settings.default_health_check_interval
            if health_check_interval is None
            else health_check_interval,
        )
        self.logger = get_logger(
            self.component_name,
            verbose=True,
            family=component_name or _LOG_FAMILY,
            settings=settings,
        )
        self._data_callbacks: dict[DataType, list[Callback]] = {kind: [] for kind in DataType}
        self._base = Lifecycle(
            self,
            settings,
            clock or SystemClock(),
            max_silence_s=max_silence_s or settings.max_silence_duration,
            metrics=metrics,
            log=self.logger,
        )
        # Every call of the subclass's method is counted, whoever calls it.
        vars(self)["_process_message"] = partial(_counted, self, self._process_message)

    # What a subclass says.

    @abstractmethod
    async def connect(self) -> bool:
        """Connects to the exchange; False or an exception if that failed."""
        return False

    @abstractmethod
    async def disconnect(self) -> None:
        """Closes the connection. Also called after a `connect` that failed."""
        return  # subclasses may call it

    @abstractmethod
    async def subscribe_to_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        """Subscribes; called after each `connect`, and for symbols that are added later."""
        return False

    @abstractmethod
    async def unsubscribe_from_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        """Unsubscribes; called for symbols that are removed."""
        return False

    @abstractmethod
    async def _process_message(self, message: Any) -> MarketDataPoint | None:
        """The data point of a message, None if it has none. Here: the message, if it is one."""
        return message if isinstance(message, MarketDataPoint) else None

    @abstractmethod
    async def _handle_messages(self) -> None:
        """Waits for one message, or for some, and hands their points to `_notify_callbacks`.

        It is called again and again; an exception means that the connection is lost.
        """

    # What users call.

    async def start(self) -> bool:
        """Connects, subscribes and begins to read; whether that went well.

        False: `last_error` in the status says why. With `auto_restart` the collector then goes on
        trying, until `stop`.
        """
        return await self._base.start()

    async def stop(self, force: bool = False) -> None:
        """Ends reading, lets the callbacks take what was read, and disconnects.

        A start that is going on is aborted. Returns within half a minute, whatever the subclass and
        the callbacks do; `force`: within seconds, and nothing is waited for that takes time.
        """
        await self._base.stop(force=force)

    async def restart(self) -> bool:
        """Stops and starts; whether the start went well. Attempts so far are not forgotten, so
        that restarts do not hurry the pace."""
        return await self._base.restart()

    def add_data_callback(self, data_type: DataType | str, callback: Callback) -> None:
        """Calls `callback` with each data point of this type; registered twice, it is called once.

        A coroutine function runs on the event loop, a plain function in a thread of its own, where
        it may block. Each has a queue of 10,000 points; when it is full the oldest is dropped, and
        counted in the status. A call may take 10 s.
        """
        kind = read_data_type(data_type)
        if not callable(callback):
            raise DataValidationError(f"callback: {foreign_text(repr(callback))} is not callable")
        self._base.add_callback(kind, callback)

    def remove_data_callback(self, data_type: DataType | str, callback: Callback) -> None:
        """Undoes `add_data_callback`; what waits in the callback's queue is not delivered."""
        self._base.remove_callback(read_data_type(data_type), callback)

    def add_symbol(self, symbol: str) -> None:
        """Adds a symbol. While the collector runs, it is pending until it is subscribed, which the
        status tells; may be called from any thread."""
        symbol = read_symbol(symbol)
        with self._base.changing_symbols:
            if symbol in self.symbols:
                return
            self.symbols = [*self.symbols, symbol]
            self._base.symbol_added(symbol)

    def remove_symbol(self, symbol: str) -> None:
        """Removes a symbol; its points are not delivered from now on. Else as `add_symbol`."""
        with self._base.changing_symbols:
            if symbol not in self.symbols:
                return
            self.symbols = [other for other in self.symbols if other != symbol]
            self._base.symbol_removed(symbol)

    def get_status(self) -> dict[str, Any]:
        """The state of the collector, ready for JSON. Durations are in seconds."""
        record = self._base.record
        return {
            "exchange": self.exchange_name,
            "status": record.status.value,
            "should_be_running": record.should_be_running,
            "symbols": list(self.symbols),
            "data_types": [kind.value for kind in self.data_types],
            "auto_restart": self.auto_restart,
            "component": self.component_name,
            **self._base.status(),
        }

    def get_health_status(self) -> dict[str, Any]:
        """Whether the collector is as it should be, and what is wrong, ready for JSON."""
        return self._base.record.health_status(self._base.is_running())

    def validate_ohlcv_data(
        self, data: Mapping[str, Any], symbol: str, timeframe: str
    ) -> OHLCVData:
        """The candle of a mapping with timestamp, open, high, low, close and volume, and perhaps
        trades_count, turnover, close_time and closed. Raises DataValidationError."""
        needed = ("timestamp", "open", "high", "low", "close", "volume")
        extra = ("trades_count", "turnover", "close_time", "closed")
        where = f"{self.exchange_name}:{symbol} {timeframe}"
        if not isinstance(data, Mapping):
            raise DataValidationError(f"{where}: a candle must be a mapping")
        if missing := [name for name in needed if data.get(name) is None]:
            raise DataValidationError(f"{where}: there is no {', '.join(missing)}")
        values = {name: data[name] for name in (*needed, *extra) if name in data}
        try:
            return OHLCVData(symbol=symbol, timeframe=timeframe, **values)
        except DataValidationError as error:
            raise DataValidationError(f"{where}: {error}") from None

    # What subclasses call, and may override.

    async def _notify_callbacks(self, data_point: MarketDataPoint | None) -> None:
        """Hands a data point to the callbacks of its type; it does not wait for them."""
        if data_point is None:
            return
        if not isinstance(data_point, MarketDataPoint):
            raise DataValidationError(f"{foreign_text(repr(data_point))} is no MarketDataPoint")
        self._base.notify(data_point)

    async def _handle_connection_error(self) -> bool:
        """One attempt to connect again, after a pause; whether it went well. If not, it is called
        again."""
        return await self._base.reconnect()

    def _note_inbound(self) -> None:
        """Tells that bytes have arrived, of any kind: a sign of life, but no data."""
        self._base.record.had_inbound()

    def _note_error(self, kind: ErrorType, text: str) -> None:
        """Counts an error that the collector dealt with itself, and keeps its text."""
        self._base.log().warning("collector_error", error=self._base.record.failed(kind, text))

    # What the manager calls.

    def _configure(self, config: CollectorConfig | None, metrics: CollectorMetrics | None) -> None:
        """Takes over a manager's configuration and metrics."""
        if metrics is not None and self._base.record.metrics is None:
            self._base.record.metrics = metrics
        if config is None:
            return
        self.symbols = list(config.symbols) or self.symbols
        self.data_types = read_data_types(config.data_types) or self.data_types
        self.auto_restart = config.auto_restart
        self.health_check_interval = config.health_check_interval
        self._base.ask_for_changes()


async def _counted(
    collector: BaseDataCollector, function: Callable[..., Any], *given: Any, **named: Any
) -> MarketDataPoint | None:
    """Calls the subclass's `_process_message`, async or plain, and counts the message."""
    record = collector._base.record
    record.received += 1
    result = function(*given, **named)
    point: MarketDataPoint | None = await result if isawaitable(result) else result
    if point is not None:
        record.was_read()
    return point
