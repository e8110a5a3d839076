"""The kinds of faults of streams, with what each does."""

from typing import Final

# Faults of connections; cut, stall and close are asked once a second and open connection.
CONNECTION_KINDS: Final = {
    "stream_refuse": "a WebSocket is refused with HTTP 403, 503 or another `status`",
    "stream_life": "a connection lives `seconds`, from its opening",
    "stream_cut": "a connection is cut without a word; one of those that are open, by `count`",
    "stream_close": "a connection is closed with close code `status`, 1001 by default; with "
    "`seconds` its life ends so much later, so that an exchange that announces it can",
    "stream_stall": "a connection stays open and silent, for `seconds` or for good",
    "stream_mute": "a subscription is acknowledged and stays silent",
    "stream_after_unsubscribe": "a stream goes on for `seconds` (5) after its unsubscription",
}
MESSAGE_KINDS: Final = {
    "stream_lose_closing": "a closing candle is not sent",
    "stream_delay_closing": "a closing candle comes `seconds` (30) later",
    "stream_wrong_closing": "a closing candle has other numbers than the REST answer; variant "
    "then_right: the right one follows `seconds` (0.5) later",
    "stream_lose": "a message is not sent; of a book this is a gap in its sequence",
    "stream_gap": "a change of a book is not sent",
    "stream_duplicate": "a message is sent twice",
    "stream_reorder": "a message is sent after the next one of its stream",
    "stream_garbage": "before the message comes text that is no JSON, or `text`",
    "stream_giant": "before the message comes one of `rows` bytes, 25,000,000 by default",
}
THEN_RIGHT: Final = "then_right"
# Those of open connections.
OPEN_KINDS: Final = ("stream_cut", "stream_close", "stream_stall")
STREAM_KINDS: Final = {**CONNECTION_KINDS, **MESSAGE_KINDS}
