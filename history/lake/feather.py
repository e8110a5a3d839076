"""The rows of a market as freqtrade keeps them: Feather with lz4, candles whatever they hold."""

from typing import IO, Final

import numpy as np
import pyarrow as pa

from history.lake.layout import LakeFile
from history.lake.reading import Batch, MarketRows
from market.columns import column_index
from market.rows import Floats
from market.timeframes import MINUTE_MS

_NAMES: Final = ("open", "high", "low", "close", "volume")
_PLACES: Final = [column_index(name) for name in _NAMES]
_VOLUME: Final = len(_NAMES) - 1
_DATE: Final = pa.timestamp("ms", tz="UTC")
_SCHEMA: Final = pa.schema(
    [pa.field("date", _DATE), *(pa.field(name, pa.float64()) for name in _NAMES)]
)


class FeatherRows:
    """A RowWriter of writing.py. Feather (version 2) is Arrow's IPC file."""

    def __init__(self, file: IO[bytes], described: LakeFile) -> None:
        self._content = described.content
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(file, _SCHEMA, options=options)

    def write(self, batch: Batch) -> None:
        for rows in batch:
            values = self._values(rows)
            # Settlements are some ms late, and freqtrade joins them with candles by their times.
            late_ms = rows.times % MINUTE_MS if self._content == "funding" else 0
            columns = [pa.array(rows.times - late_ms).cast(_DATE), *map(pa.array, values.T.copy())]
            self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=_SCHEMA))

    def end(self) -> None:
        self._writer.close()

    def _values(self, rows: MarketRows) -> Floats:
        if self._content == "candles":
            return rows.values[:, _PLACES]
        if self._content == "mark":
            values = rows.values[:, _PLACES]
            values[:, _VOLUME] = 0.0  # as of mark prices, which are no trades
            return values
        values = np.zeros((len(rows), len(_NAMES)))
        values[:, 0] = rows.values[:, 0]
        return values
