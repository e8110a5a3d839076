"""The text of server-sent events (WHATWG HTML, 9.2.6), and the ids that listeners go on from.

An id is an entry's position in the log. A publish can be told by several events, numbered in the
order in which they are sent: `<position>.<number>`. An id is sent with a comment, too, when a
listener has all events of that entry; it is then `<position>` alone.
"""

from typing import Final, NamedTuple

from stores.hot.event_log import Position, read_position

RETRY_MS: Final = 2000  # until a client connects again
WHOLE: Final = 9  # the number of an entry of which all is told
_LONGEST_ID: Final = 50


class Place(NamedTuple):
    """Where a listener goes on: behind this event of the entry at this position."""

    position: Position
    number: int

    def __str__(self) -> str:
        return str(self.position) if self.number == WHOLE else f"{self.position}.{self.number}"


def read_place(text: bytes) -> Place | None:
    """The place of an id; None if it is not one of ours."""
    if len(text) > _LONGEST_ID:
        return None
    words, dot, number = text.strip().partition(b".")
    position = read_position(words)
    if position is None or (dot and number not in (b"1", b"2", b"3")):
        return None
    return Place(position, int(number) if dot else WHOLE)


def frame(event: str, data: bytes, place: Place | None) -> bytes:
    """One event; `data` is JSON, which has no line breaks."""
    at = b"" if place is None else f"id: {place}\n".encode()
    return b"event: %b\n%bdata: %b\n\n" % (event.encode(), at, data)


def opening(position: Position | None) -> bytes:
    """The beginning of a stream: how soon to connect again, and from where."""
    return b"retry: %d\n" % RETRY_MS + beat(position)


def beat(position: Position | None) -> bytes:
    """A comment, which shows that the connection stands; all up to `position` has been told."""
    at = b"" if position is None else f"id: {position}\n".encode()
    return b":\n%b\n" % at
