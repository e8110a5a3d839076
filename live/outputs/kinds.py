"""OUTPUTS: the kinds of outputs, which data each takes, and how it is opened."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from config import Settings
from database import Database
from live.data_types import DataType, DataValidationError
from live.outputs.output import Output
from live.outputs.postgres_tables import PostgresTables
from live.outputs.redis_channels import RedisChannels
from metrics.outputs import OutputMetrics
from stores.hot.store import HotStore
from texts.foreign import foreign_text

_Open = Callable[[HotStore, Database, Settings, OutputMetrics | None], Output]


@dataclass(frozen=True, slots=True)
class OutputKind:
    """`others`: what becomes of the data types that are not accepted."""

    accepts: frozenset[DataType]
    others: str
    open: _Open


def _redis(
    store: HotStore, database: Database, settings: Settings, metrics: OutputMetrics | None
) -> Output:
    return RedisChannels(store, metrics)


def _postgres(
    store: HotStore, database: Database, settings: Settings, metrics: OutputMetrics | None
) -> Output:
    return PostgresTables(database.live_tables, settings.live_retention_days, metrics)


OUTPUTS: Final[Mapping[str, OutputKind]] = {
    "redis": OutputKind(
        frozenset((DataType.TICKER, DataType.TRADE, DataType.ORDERBOOK, DataType.CANDLE)),
        "balances are published nowhere",
        _redis,
    ),
    "postgres": OutputKind(
        frozenset((DataType.TICKER, DataType.TRADE, DataType.ORDERBOOK)),
        "candles are kept as documents, and balances nowhere",
        _postgres,
    ),
}


def check_outputs(names: Iterable[str], data_types: Iterable[DataType]) -> list[str]:
    """The names in their order, each once.

    Raises DataValidationError for a name that is no output's, and for a data type that one of them
    does not take.
    """
    wanted = list(dict.fromkeys(names))
    kinds = list(data_types)
    for name in wanted:
        output = _kind(name)
        refused = [kind.value for kind in dict.fromkeys(kinds) if kind not in output.accepts]
        if refused:
            taken = ", ".join(kind.value for kind in DataType if kind in output.accepts)
            raise DataValidationError(
                f"output {name}: takes {taken}, not {', '.join(refused)} ({output.others}); give"
                " what it does not take to another collector"
            )
    return wanted


def open_output(
    name: str,
    *,
    store: HotStore,
    database: Database,
    settings: Settings,
    metrics: OutputMetrics | None = None,
) -> Output:
    """The output of this name; it connects when it runs. Raises DataValidationError for a name
    that is no output's."""
    return _kind(name).open(store, database, settings, metrics)


def _kind(name: str) -> OutputKind:
    found = OUTPUTS.get(name) if isinstance(name, str) else None
    if found is None:
        raise DataValidationError(
            f"output: {foreign_text(repr(name), 80)} is none of {', '.join(OUTPUTS)}"
        )
    return found
