"""Writes a document's table as an Arrow stream, compressed inside with zstd."""

from arro3.core import RecordBatchReader
from arro3.io import write_ipc_stream

from api.documents.table import DocumentTable
from documents.text import DocumentText

Buffer = bytes | memoryview


class Pieces:
    """A file that keeps what is written to it; other threads run between two pieces."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self.parts.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        pass

    def seek(self, *_: int) -> int:
        raise OSError("a stream cannot be read")


def write_arrow(text: DocumentText) -> list[Buffer]:
    """An Arrow IPC stream. CPU work. Raises DocumentError."""
    table = DocumentTable(text)
    file = Pieces()
    reader = RecordBatchReader.from_batches(table.schema, list(table.batches()))
    write_ipc_stream(reader, file, compression="zstd")  # type: ignore[arg-type]
    return [b"".join(file.parts)]
