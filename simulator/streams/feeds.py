"""Feed and Message: what a stream pushes and when, independent of who is subscribed to it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from simulator.streams.frames import frame

NEVER_MS: Final = 1 << 62  # the due time of a feed that has nothing to push

Wrap = Callable[[str, bytes, int], bytes]


class Kind(Enum):
    """What a message is to faults; they lose or delay closings and tear gaps into books."""

    OTHER = "other"
    CLOSING = "closing"
    BOOK = "book"


class Message:
    """One message of a stream, encoded once for each form and window that its subscribers
    read it in.

    `data`: the text without an envelope. `altered`: makes the text of the same message with other
    numbers, for faults; None: it has no numbers to alter.
    """

    __slots__ = ("_frames", "altered", "data", "kind")

    def __init__(
        self, data: bytes, kind: Kind = Kind.OTHER, altered: Callable[[], bytes] | None = None
    ) -> None:
        self.data = data
        self.kind = kind
        self.altered = altered
        self._frames: dict[int, bytes] = {}

    def frame(self, stream: str, form: int, wrap: Wrap, deflate_bits: int = 0) -> bytes:
        """The frame in this form; `wrap(stream, data, form)` puts the data into its envelope."""
        key = form << 4 | deflate_bits
        found = self._frames.get(key)
        if found is None:
            text = wrap(stream, self.data, form)
            found = self._frames[key] = frame(text, deflate_bits=deflate_bits)
        return found


class Feed(ABC):
    """What one stream pushes, while anyone is subscribed to it.

    `next_ms` is the exchange time of its next push, NEVER_MS if it has none. The hub calls `start`
    once, and again when time was moved back or markets have changed; then `push` whenever
    `next_ms` has come. A push moves `next_ms` on; it may stay in the past, then `push` is called
    again at once, in the order of the due times of all feeds.
    """

    next_ms: int = NEVER_MS
    # At least so far apart are pushes that a later one replaces, where time passes fast.
    gap_ms: int = 0

    @abstractmethod
    def start(self, now_ms: int) -> None:
        """Begins at this time: sets `next_ms`, forgets what was pushed."""

    @abstractmethod
    def push(self, now_ms: int) -> Iterable[Message]:
        """The messages due now, and sets `next_ms`. `now_ms` may be later than `next_ms` was."""

    def skip(self, now_ms: int) -> bool:
        """Leaves out the push that is due, for want of time, and moves `next_ms` on. False: it is
        none that may be left out, as a later one does not replace it."""
        return False

    def snapshot(self, now_ms: int) -> Iterable[Message]:
        """What a new subscriber gets at once, alone; it has to fit what was pushed last."""
        return ()

    def again(self, now_ms: int) -> Iterable[Message]:
        """What all subscribers get when the stream begins anew; by default as new ones."""
        return self.snapshot(now_ms)

    def storm(self, now_ms: int) -> Message | None:
        """The present state once more, for a storm; None: this feed takes no part in it."""
        return None
