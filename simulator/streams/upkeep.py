"""Upkeep: what happens to open connections once a second: lives end, faults strike."""

from collections.abc import Callable, Iterable

from simulator.stats import Stats
from simulator.streams.exchange import StreamExchange
from simulator.streams.faults import StreamFaults
from simulator.streams.session import Session

_FOR_GOOD_S = 1e9


class Upkeep:
    """`leave(session, stream)` ends what a stream still sends to a session."""

    def __init__(
        self, exchange: StreamExchange, faults: StreamFaults, stats: Stats,
        leave: Callable[[Session, str], None],
    ) -> None:  # fmt: skip
        self._exchange = exchange
        self._faults = faults
        self._stats = stats
        self._leave = leave
        self._going_on: list[tuple[float, Session, str]] = []  # unsubscribed, not yet ended

    def go_on(self, session: Session, stream: str, until_s: float) -> None:
        """Lets a stream go on to a session that has unsubscribed from it."""
        self._going_on.append((until_s, session, stream))

    def forget(self, session: Session) -> None:
        self._going_on = [item for item in self._going_on if item[1] is not session]

    def look(self, sessions: Iterable[Session], now_s: float) -> None:
        """Ends lives, lets faults strike, ends streams that have gone on for long enough."""
        for session in sessions:
            if session.ending is not None:
                continue
            life_s = session.life_s
            if life_s is None:
                life_s = self._exchange.settings.life_s[self._exchange.name]
            if life_s is not None and now_s - session.opened_s >= life_s:
                self._exchange.expire(session)
            elif self._faults.active:
                self._strike(session, now_s)
        over = [item for item in self._going_on if item[0] <= now_s]
        self._going_on = [item for item in self._going_on if item[0] > now_s]
        for _, session, stream in over:
            if stream not in session.streams:
                self._leave(session, stream)

    def _strike(self, session: Session, now_s: float) -> None:
        rule = self._faults.pick_for(session, now_s, self._exchange.symbol_of)
        if rule is None:
            return
        self._stats.faults[rule.kind] += 1
        if rule.kind == "stream_cut":
            session.cut()
        elif rule.kind == "stream_close" and rule.get("seconds"):
            session.life_s = now_s - session.opened_s + float(rule.get("seconds"))
        elif rule.kind == "stream_close":
            session.close(int(rule.get("status", 1001)), str(rule.get("text", "")))
        else:
            session.stalled_until_s = now_s + float(rule.get("seconds", _FOR_GOOD_S))
