"""What writes the rows of one file, whatever its form is: begun, any number of batches, ended."""

from typing import IO, Protocol

from history.lake.errors import ExportError
from history.lake.layout import LakeFile
from history.lake.reading import Batch
from history.lake.wanted import Form

NEEDS_PYARROW: tuple[Form, ...] = ("parquet", "freqtrade")


class RowWriter(Protocol):
    """Writes batches to an open file. Raises OSError."""

    def write(self, batch: Batch) -> None: ...

    def end(self) -> None:
        """Writes what is left; the file stays open."""


class PyarrowMissing(ExportError):
    """The form needs pyarrow, which is not installed or does not load."""


def check_packages(form: Form) -> None:
    """Raises PyarrowMissing, with what to do."""
    if form not in NEEDS_PYARROW:
        return
    try:
        import pyarrow  # noqa: F401 - whether it loads is the question
    except ImportError as error:
        raise PyarrowMissing(
            f"--format {form} needs the package pyarrow ({error}): .venv/bin/pip install"
            " --require-hashes -r requirements-lake.txt; --format csv does without"
        ) from error


def open_writer(form: Form, file: IO[bytes], described: LakeFile) -> RowWriter:
    # Imported here: pyarrow is large, and may be missing.
    if form == "parquet":
        from history.lake.parquet import ParquetRows

        return ParquetRows(file, described)
    if form == "freqtrade":
        from history.lake.feather import FeatherRows

        return FeatherRows(file, described)
    from history.lake.csv_rows import CsvRows

    return CsvRows(file, described)
