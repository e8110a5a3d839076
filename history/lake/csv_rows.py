"""The rows of a market as CSV: a line of names, then a line for each row. Times are UTC ms."""

from typing import IO

import numpy as np
import orjson

from history.lake.columns import time_name, value_names
from history.lake.layout import LakeFile
from history.lake.reading import Batch, MarketRows


class CsvRows:
    """A RowWriter of writing.py. A number is the shortest text that is it again; null is empty."""

    def __init__(self, file: IO[bytes], described: LakeFile) -> None:
        self._file = file
        names = [time_name(described.content), *value_names(described.content), "known_at"]
        file.write(",".join(names).encode() + b"\n")

    def write(self, batch: Batch) -> None:
        for rows in batch:
            self._file.write(b"".join(_lines(rows)))

    def end(self) -> None:
        """Nothing is left."""


def _lines(rows: MarketRows) -> list[bytes]:
    text = orjson.dumps(np.ascontiguousarray(rows.values), option=orjson.OPT_SERIALIZE_NUMPY)
    values = text[2:-2].replace(b"null", b"").split(b"],[")
    columns = zip(rows.times.tolist(), values, rows.known_at.tolist(), strict=True)
    return [b"%d,%b,%d\n" % columns_of_row for columns_of_row in columns]
