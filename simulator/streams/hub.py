"""Hub: one exchange's sessions and the streams that they want, pushed in the order of time."""

import heapq
import math
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, Final

from simulator.market import Market
from simulator.stats import Stats
from simulator.streams.exchange import StreamExchange
from simulator.streams.faults import StreamFaults
from simulator.streams.feeds import NEVER_MS, Feed, Message
from simulator.streams.session import Session
from simulator.streams.stats import StreamCounts
from simulator.streams.upkeep import Upkeep

_REAL_GAP_MS: Final = 250  # between two states of a stream, however fast time passes
_SLOW_S: Final = 2.0  # real seconds that too much may wait for a reader
_FAR_TOO_MUCH: Final = 16  # times `buffer_bytes`: no reader is waited for then
_UNSUBSCRIBED_S: Final = 5.0  # how long fault stream_after_unsubscribe goes on


class Group:
    """The subscribers of one stream, and its feed while it has one."""

    __slots__ = ("due_ms", "feed", "sessions", "stream", "symbol")

    def __init__(self, stream: str, symbol: str) -> None:
        self.stream = stream
        self.symbol = symbol
        self.sessions: dict[Session, None] = {}
        self.feed: Feed | None = None
        self.due_ms = NEVER_MS


class Hub:
    """One exchange's sessions and subscriptions. Not to be used by more than one loop."""

    def __init__(self, exchange: StreamExchange, stats: Stats, faults: StreamFaults) -> None:
        self.exchange = exchange
        self.clock = exchange.markets.clock
        self.stats = stats
        self.faults = faults
        self.counts = StreamCounts()
        self.sessions: dict[Session, None] = {}
        self.dirty: dict[Session, None] = {}  # sessions with something to write
        self.now_s = self.clock.elapsed_s()
        self._now_ms = 0
        self._groups: dict[str, Group] = {}
        self._heap: list[tuple[int, int, Group, Message | None]] = []
        self._order = count()
        self._watched_s = 0.0
        self._upkeep = Upkeep(exchange, faults, stats, self._leave)
        self._storm_at = 0

    # --- sessions and subscriptions

    def add(self, session: Session) -> None:
        self.sessions[session] = None
        self.counts.open += 1
        self.counts.connected += 1
        rule = self.faults.pick("stream_life", self.now_s, client=session.client)
        if rule is not None:
            self.stats.faults[rule.kind] += 1
            session.life_s = float(rule.get("seconds", 60))

    def remove(self, session: Session, how: str) -> None:
        """Forgets a session that has ended; `how` is counted."""
        for stream in session.streams:
            self._leave(session, stream)
        self.counts.streams -= len(session.streams)
        session.streams.clear()
        self._upkeep.forget(session)
        for group in [g for g in self._groups.values() if session in g.sessions]:
            self._leave(session, group.stream)
        self.sessions.pop(session, None)
        self.dirty.pop(session, None)
        self.counts.open -= 1
        self.counts.closed[how] += 1

    def subscribe(self, session: Session, stream: str, *, delivers: bool) -> None:
        if stream in session.streams:
            return
        session.streams[stream] = None
        self.counts.streams += 1
        if not delivers:
            return
        symbol = self.exchange.symbol_of(stream)
        target = {"stream": stream, "symbol": symbol, "client": session.client}
        rule = self.faults.pick("stream_mute", self.now_s, **target)
        if rule is not None:
            self.stats.faults[rule.kind] += 1
            return
        group = self._groups.get(stream)
        if group is None:
            group = self._groups[stream] = Group(stream, symbol)
            self._begin(group)
        group.sessions[session] = None

    def snapshots(self, session: Session, streams: Iterable[str]) -> None:
        """Sends what new subscribers get at once; called after the acknowledgement."""
        for stream in streams:
            group = self._groups.get(stream)
            if group is not None and group.feed is not None and session in group.sessions:
                for message in group.feed.snapshot(self._now_ms):
                    self._send_to(session, stream, message)

    def unsubscribe(self, session: Session, stream: str) -> None:
        if stream not in session.streams:
            return
        del session.streams[stream]
        self.counts.streams -= 1
        symbol = self.exchange.symbol_of(stream)
        target = {"stream": stream, "symbol": symbol, "client": session.client}
        rule = self.faults.pick("stream_after_unsubscribe", self.now_s, **target)
        if rule is None:
            self._leave(session, stream)
            return
        self.stats.faults[rule.kind] += 1
        until_s = self.now_s + float(rule.get("seconds", _UNSUBSCRIBED_S))
        self._upkeep.go_on(session, stream, until_s)

    def limit_broken(self, limit: str) -> None:
        self.stats.limits_broken[f"{self.exchange.name} stream {limit}"] += 1

    def market_changed(self, kind: str, market: Market, event: Mapping[str, Any]) -> None:
        """A market has changed: its feeds and those that had no market are made anew."""
        self.exchange.market_changed(kind, market, event)
        for group in self._groups.values():
            if group.symbol == market.symbol or group.feed is None:
                self._begin_again(group)
            elif group.feed.next_ms < group.due_ms:  # it has something to tell of this
                self._schedule(group, group.feed)

    def _leave(self, session: Session, stream: str) -> None:
        group = self._groups.get(stream)
        if group is not None:
            group.sessions.pop(session, None)
            if not group.sessions:
                del self._groups[stream]
                group.feed, group.due_ms = None, NEVER_MS

    def _begin(self, group: Group) -> None:
        group.feed = self.exchange.feed(group.stream)
        if group.feed is not None:
            group.feed.start(self._now_ms)
            self._schedule(group, group.feed)

    def _begin_again(self, group: Group) -> None:
        """Makes the feed anew; its subscribers get its snapshot where what they know is void."""
        self._begin(group)
        if group.feed is not None:
            for message in group.feed.again(self._now_ms):
                self._send(group, message)

    def _schedule(self, group: Group, feed: Feed) -> None:
        group.due_ms = feed.next_ms
        if group.due_ms < NEVER_MS:
            heapq.heappush(self._heap, (group.due_ms, next(self._order), group, None))

    # --- what is due

    def advance(self, budget_s: float = math.inf) -> None:
        """Pushes all that is due by now; nothing is written before `flush`. After `budget_s` real
        seconds, pushes that later ones replace are left out."""
        until_s = self.clock.monotonic_s() + budget_s
        self.now_s = self.clock.elapsed_s()
        now_ms = self.exchange.now_ms()
        if now_ms < self._now_ms:  # markets show again what they showed then
            self._now_ms = now_ms
            self._heap.clear()
            for group in self._groups.values():
                self._begin_again(group)
        self._now_ms = now_ms
        watches = self.now_s >= self._watched_s + 1
        if watches:
            self._watched_s = self.now_s
            self._upkeep.look(list(self.sessions), self.now_s)
        gap_ms = int(_REAL_GAP_MS * self.clock.speed) if self.clock.speed > 1 else 0
        heap = self._heap
        while heap and heap[0][0] <= now_ms:
            due_ms, _, group, message = heapq.heappop(heap)
            if message is not None:
                self._send(group, message)
            elif group.feed is not None and group.due_ms == due_ms:
                group.feed.gap_ms = gap_ms
                if self.clock.monotonic_s() < until_s or not group.feed.skip(now_ms):
                    for one in group.feed.push(now_ms):
                        self._deliver(group, one, due_ms)
                self._schedule(group, group.feed)
        if watches:  # after what was due, which is no silence
            for session in list(self.sessions):
                if session.ending is None:
                    self.exchange.watch(session, self.now_s)

    def storm(self, messages: int) -> None:
        """Sends the present state of the subscribed streams in turn, so many messages in all."""
        groups = [group for group in self._groups.values() if group.feed is not None]
        for _ in range(messages if groups else 0):
            group = groups[self._storm_at % len(groups)]
            self._storm_at += 1
            message = group.feed.storm(self._now_ms) if group.feed is not None else None
            if message is not None:
                self._send(group, message)

    def flush(self) -> None:
        """Writes what is queued, one write for each session; ends readers that are too slow."""
        while self.dirty:
            session, _ = self.dirty.popitem()
            data = b"".join(session.frames_out)
            self.counts.messages_out += len(session.frames_out)
            self.counts.bytes_out += len(data)
            session.frames_out.clear()
            session.last_out_s = self.now_s
            if not session.transport.is_closing():
                session.transport.write(data)
                if session.ending is None and self._is_too_slow(session):
                    self.limit_broken("too slow")
                    session.close(*self.exchange.slow_close)

    def _is_too_slow(self, session: Session) -> bool:
        """Whether more than `buffer_bytes` have waited for this reader for 2 s, or very many now.

        A jump of time brings much at once, which a good reader has soon read.
        """
        most = self.exchange.settings.buffer_bytes
        waiting = session.transport.get_write_buffer_size()
        if waiting <= most:
            session.slow_since_s = None
            return False
        now_s = self.clock.monotonic_s()
        if session.slow_since_s is None:
            session.slow_since_s = now_s
        return waiting > _FAR_TOO_MUCH * most or now_s - session.slow_since_s > _SLOW_S

    def _deliver(self, group: Group, message: Message, due_ms: int) -> None:
        if not self.faults.active:
            self._send(group, message)
            return
        changed, kind = self.faults.on_message(group.stream, group.symbol, message, self.now_s)
        if kind:
            self.stats.faults[kind] += 1
        for later_s, one in changed:
            if later_s:
                later_ms = due_ms + int(later_s * 1000)
                heapq.heappush(self._heap, (later_ms, next(self._order), group, one))
            else:
                self._send(group, one)

    def _send(self, group: Group, message: Message) -> None:
        for session in group.sessions:
            self._send_to(session, group.stream, message)

    def _send_to(self, session: Session, stream: str, message: Message) -> None:
        wrap, bits = self.exchange.wrap, session.deflate_bits
        session.send_frame(message.frame(stream, session.form, wrap, bits))
        session.last_push_s = self.now_s
