"""Faults of streams: which rule hits a connection or a message, and what a message becomes by it.

The rules are those of simulator/faults.py, with `stream` beside exchange, symbol and client as a
target. Faults of messages hit all subscribers alike, so `client` is no target of theirs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator.faults import FaultRules, Rule
from simulator.streams.fault_kinds import MESSAGE_KINDS, OPEN_KINDS, THEN_RIGHT
from simulator.streams.feeds import Kind, Message
from simulator.streams.session import Session

_GARBAGE: Final = '{"e":"kline","E":17954,\ufffd<html>'
_GIANT_BYTES: Final = 25_000_000
_RIGHT_AFTER_S: Final = 0.5
# The kinds that only some messages can have.
_ONLY: Final = {
    "stream_lose_closing": Kind.CLOSING,
    "stream_delay_closing": Kind.CLOSING,
    "stream_wrong_closing": Kind.CLOSING,
    "stream_gap": Kind.BOOK,
}


class StreamFaults:
    """The stream rules of one exchange, and the messages that they hold back."""

    def __init__(self, rules: FaultRules, exchange: str) -> None:
        self._rules = rules
        self._exchange = exchange
        self._held: dict[str, Message] = {}  # by stream: sent after the next one

    @property
    def active(self) -> bool:
        """Whether any rule of streams is in force, or a message is held back."""
        return self._rules.has_stream_rules or bool(self._held)

    def pick(self, kind: str, now_s: float, **target: str) -> Rule | None:
        """The rule of this kind that hits, counted."""
        if not self._rules.has_stream_rules:
            return None
        return self._rules.pick_stream((kind,), {"exchange": self._exchange, **target}, now_s)

    def pick_for(
        self, session: Session, now_s: float, symbol_of: Callable[[str], str]
    ) -> Rule | None:
        """The rule that ends or stalls this open connection now; counted.

        A rule with a stream or a symbol means connections that are subscribed to such a one.
        """
        for rule in self._rules.of_kinds(OPEN_KINDS):
            streams, symbols = rule.targets.get("stream"), rule.targets.get("symbol")
            target = {"exchange": self._exchange, "client": session.client}
            for stream in session.streams if streams or symbols else ():
                if stream in (streams or (stream,)):
                    symbol = symbol_of(stream)
                    if symbol in (symbols or (symbol,)):
                        target |= {"stream": stream, "symbol": symbol}
                        break
            if rule.hits(target, now_s):
                return rule
        return None

    def on_message(
        self, stream: str, symbol: str, message: Message, now_s: float
    ) -> tuple[list[tuple[float, Message]], str]:
        """What is delivered in place of a message, as (seconds from now, message), and the kind
        of the fault, "" for none."""
        kinds = [kind for kind in MESSAGE_KINDS if _ONLY.get(kind, message.kind) is message.kind]
        target = {"exchange": self._exchange, "stream": stream, "symbol": symbol}
        rule = self._rules.pick_stream(kinds, target, now_s)
        before = self._held.pop(stream, None)
        if rule is not None and rule.kind == "stream_reorder" and before is None:
            self._held[stream] = message
            return [], rule.kind
        found = [(0.0, message)] if rule is None else _faulty(rule.kind, rule.settings, message)
        kind = "" if rule is None else rule.kind
        return (found if before is None else [*found, (0.0, before)]), kind


def _faulty(
    kind: str, settings: Mapping[str, Any], message: Message
) -> list[tuple[float, Message]]:
    if kind in ("stream_lose", "stream_lose_closing", "stream_gap"):
        return []
    if kind == "stream_delay_closing":
        return [(float(settings.get("seconds", 30)), message)]
    if kind == "stream_wrong_closing" and message.altered is not None:
        wrong = Message(message.altered(), message.kind)
        later_s = float(settings.get("seconds", _RIGHT_AFTER_S))
        right = [(later_s, message)] if settings.get("variant") == THEN_RIGHT else []
        return [(0.0, wrong), *right]
    if kind == "stream_duplicate":
        return [(0.0, message), (0.0, message)]
    if kind == "stream_garbage":
        return [(0.0, Raw(str(settings.get("text", _GARBAGE)).encode())), (0.0, message)]
    if kind == "stream_giant":
        length = int(settings.get("rows", _GIANT_BYTES))
        giant = b'{"e":"giant","x":"%s"}' % (b"x" * max(length - 20, 0))
        return [(0.0, Raw(giant)), (0.0, message)]
    return [(0.0, message)]


class Raw(Message):
    """A message that is sent as it is, without an envelope."""

    def frame(self, stream: str, form: int, wrap: Any, deflate_bits: int = 0) -> bytes:
        return super().frame(stream, 0, lambda stream, data, form: data, deflate_bits)
