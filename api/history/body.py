"""The body of an answer: written block by block beside the event loop, compressed, and sent."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor
from typing import IO, Any, Final

import structlog
from fastapi import HTTPException
from isal import isal_zlib
from starlette.responses import Response

from api.answers import Header, Receive, Scope, Send
from api.documents.content_coding import Coding
from api.formats import Format
from api.history.head import Head
from api.history.text_formats import CsvWriter, JsonWriter, NdjsonWriter, Writer
from database import DatabaseUnavailable
from history.reading import RecordChanged
from history.selection import Block
from logging_setup import ThrottledLog
from texts.hidden_addresses import without_addresses

_PIECE_BYTES: Final = 256 * 1024  # of a file
_BLOCK_S: Final = 60.0  # until a Parquet file gets its next block
_LEVEL: Final = 1
_PIECES_OF_ONE_BLOCK: Final = 3  # its beginning, its rows, its end
# In the scope of a request whose answer has no body.
HEAD_ONLY: Final = "perpcache.head_only"
_WINDOW_BITS: Final = {Coding.DEFLATE: 15, Coding.GZIP: 31}
_WRITERS: Final[dict[Format, Callable[[Head], Writer]]] = {
    Format.JSON: JsonWriter,
    Format.NDJSON: NdjsonWriter,
    Format.CSV: CsvWriter,
}
_NOT_INSTALLED: Final = (
    "the packages arro3-core and arro3-io are not installed where the service runs: install its"
    " requirements.txt, or ask for json, ndjson or csv"
)

throttled = ThrottledLog(structlog.get_logger(__name__))
Blocks = AsyncGenerator[Block, None]
Pieces = AsyncGenerator[bytes, None]


async def written(format_: Format, head: Head, blocks: Blocks, coding: Coding) -> Pieces:
    """The bytes of the answer; a piece for each block. Raises 406 before the first piece if a
    package is not installed."""
    make = _compressing(_writer(format_, head), coding)
    async with contextlib.aclosing(blocks):
        yield await asyncio.to_thread(make.begin)
        async for block in blocks:
            yield await asyncio.to_thread(make.rows, block)
        yield await asyncio.to_thread(make.end)


def _writer(format_: Format, head: Head) -> Writer:
    if format_ is not Format.ARROW:
        return _WRITERS[format_](head)
    try:
        # Loaded when it is first needed: 23 MB of native code.
        from api.history.arrow_formats import ArrowWriter
    except ImportError:
        raise HTTPException(406, _NOT_INSTALLED) from None
    return ArrowWriter(head)


def _compressing(writer: Writer, coding: Coding) -> Writer:
    return writer if coding is Coding.IDENTITY else _Compressed(writer, _WINDOW_BITS[coding])


class _Compressed:
    """A writer whose text is compressed as one stream."""

    def __init__(self, writer: Writer, window_bits: int) -> None:
        self._writer = writer
        self._stream = isal_zlib.compressobj(level=_LEVEL, wbits=window_bits)

    def begin(self) -> bytes:
        return self._compressed(self._writer.begin())

    def rows(self, block: Block) -> bytes:
        return self._compressed(self._writer.rows(block))

    def end(self) -> bytes:
        last: bytes = self._compressed(self._writer.end()) + self._stream.flush()
        return last

    def _compressed(self, text: bytes) -> bytes:
        found: bytes = self._stream.compress(text)
        return found


async def parquet(head: Head, blocks: Blocks, executor: Executor) -> Pieces:
    """The bytes of a Parquet file, made in a temporary file first: its end tells where all lies.

    `executor`: of few threads, each of which waits for the store.
    """
    try:
        from api.history.arrow_formats import write_whole_parquet
    except ImportError:
        raise HTTPException(406, _NOT_INSTALLED) from None
    loop = asyncio.get_running_loop()
    ended = False

    def taken() -> Iterator[Block]:
        """The blocks, each asked of the event loop by the thread that writes."""
        while not ended:
            asked = asyncio.run_coroutine_threadsafe(_next(blocks), loop)
            block = asked.result(_BLOCK_S)
            if block is None:
                return
            yield block

    with _temporary_file() as file:
        try:
            async with contextlib.aclosing(blocks):
                await loop.run_in_executor(executor, write_whole_parquet, head, taken(), file)
        finally:
            ended = True
        file.seek(0)
        while piece := file.read(_PIECE_BYTES):
            yield piece


async def _next(blocks: Blocks) -> Block | None:
    return await anext(blocks, None)


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise HTTPException(503, f"no temporary file can be made: {error.strerror}") from None


async def response(headers: list[Header], pieces: Pieces) -> Response:
    """The answer: as a whole if it is one block, else as a stream. Raises what fails in reading its
    first blocks."""
    first: list[bytes] = []
    async for piece in pieces:
        first.append(piece)
        if len(first) > _PIECES_OF_ONE_BLOCK:
            answer: Response = Streamed(first, pieces)
            answer.raw_headers = headers
            return answer
    answer = Response(b"".join(first))
    answer.raw_headers = [*headers, (b"content-length", b"%d" % len(answer.body))]
    return answer


class Streamed(Response):
    """An answer that is read while it is sent, at the client's pace.

    One that cannot be completed is cut, so that no client takes it for a whole one.
    """

    def __init__(self, first: list[bytes], pieces: Pieces) -> None:
        super().__init__()
        self._first = first
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        gone = asyncio.create_task(_disconnected(receive))
        try:
            async with contextlib.aclosing(self._pieces):
                await send(start)
                if scope.get(HEAD_ONLY):
                    await send(_body(b"", more=False))
                    return
                await send(_body(b"".join(self._first), more=True))
                self._first.clear()
                async for piece in self._pieces:
                    if gone.done():
                        return
                    await send(_body(piece, more=True))
                await send(_body(b"", more=False))
        except (DatabaseUnavailable, RecordChanged, TimeoutError) as error:
            # An answer without an end is closed by the server.
            told = without_addresses(error) or type(error).__name__
            throttled.warning("history_answer_cut", error=told)
        finally:
            gone.cancel()


def _body(piece: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": piece, "more_body": more}


async def _disconnected(receive: Receive) -> None:
    """Returns when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
