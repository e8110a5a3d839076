"""Watches a document or the overview: each new version once, never an older one, over any break.

The service tells of new versions by its events; where these do not come (an older service, a proxy
that holds them back, too many listeners), its document is asked for with `wait`. Either way what
is given was read with the entity tag of the version before, so nothing is read twice.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from perpcache_client.asking import (
    Broken,
    Event,
    Give,
    Leave,
    Listen,
    NextEvent,
    Pause,
    Reply,
    Request,
    Steps,
    raise_for_status,
)
from perpcache_client.errors import (
    BadAnswer,
    NotFound,
    ServiceUnavailable,
    Timeout,
)
from perpcache_client.overviews import Overview
from perpcache_client.questions import OVERVIEW, Held, Names, Questions
from perpcache_client.table import Table

GLOBAL_FR: Final = "global_fr"
_OF_NO_TIMEFRAME: Final = (GLOBAL_FR, OVERVIEW)
# The service sends a comment every 15 s.
EVENTS_GAP_S: Final = 40.0
WAIT_S: Final = 30.0
# Where events do not come, they are tried again after this time.
_EVENTS_AGAIN_S: Final = 600.0
_EVENTS_SOON_S: Final = 60.0
# A held request that is answered sooner without anything new was not held.
_HELD_S: Final = 1.0
_LOOKS: Final = 5

log = logging.getLogger("perpcache_client")

# Reads what is watched: what is held of it, and how long the request may be held; None if it is
# what is held.
_Reader: TypeAlias = Callable[[Held, float], Steps[Table | None] | Steps[Overview | None]]


@dataclass(slots=True)
class _Watch:
    name: str
    read: _Reader
    held: Held = field(default_factory=Held)
    version: int | None = None
    skipped: int | None = None  # an older version, which was told of in the log
    events_from_s: float = float("-inf")


class Watcher:
    """Watches documents by asking these questions."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._asker = questions.asker

    def watch(self, name: str, params: tuple[tuple[str, str], ...]) -> Steps[None]:
        """Gives the present version, and then each newer one, for good. Raises what asking again
        does not mend: InvalidRequest, Unauthorized, and NotFound for unknown symbols."""
        return self._follow(_Watch(name, partial(self._questions.table, name, params)))

    def watch_overview(self, assets: Names | None) -> Steps[None]:
        """The same for the overview, or some of its assets."""
        return self._follow(_Watch(OVERVIEW, partial(self._questions.newer_overview, assets)))

    def _follow(self, watch: _Watch) -> Steps[None]:
        failures = 0
        while True:
            before = watch.version
            try:
                if self._asker.now_s() >= watch.events_from_s:
                    yield from self._by_events(watch)
                else:
                    yield from self._by_polls(watch)
                continue
            except (ServiceUnavailable, Timeout, BadAnswer, Broken) as error:
                failures = 1 if watch.version != before else failures + 1
                log.warning("watching %s: %s; asking again", watch.name, error)
            yield Pause(self._asker.pause_s(failures))

    def _by_events(self, watch: _Watch) -> Steps[None]:
        """Returns if events do not come. Raises Broken and PerpcacheError."""
        params: tuple[tuple[str, str], ...] = (("event", "document"),)
        if watch.name not in _OF_NO_TIMEFRAME:
            params = (*params, ("timeframe", watch.name))
        request = Request("/events", params, {"Accept": "text/event-stream"})
        try:
            reply: Reply = yield Listen(request, EVENTS_GAP_S)
        except Broken:  # if only the events are cut off, the document still comes
            watch.events_from_s = self._asker.now_s() + _EVENTS_SOON_S
            return
        if reply.status in (401, 403):
            raise_for_status(reply)
        kind = reply.headers.get("content-type", "")
        if reply.status != 200 or not kind.startswith("text/event-stream"):
            yield Leave()
            watch.events_from_s = self._asker.now_s() + _EVENTS_AGAIN_S
            return
        yield from self._look(watch)
        heard = False
        while True:
            try:
                event: Event = yield NextEvent()
            except Broken:
                if heard:
                    raise
                yield Leave()
                watch.events_from_s = self._asker.now_s() + _EVENTS_AGAIN_S
                return
            heard = True
            told = _version_told(event, watch.name)
            if told is not None and (not told or watch.version is None or told > watch.version):
                yield from self._read_on(watch, told)

    def _read_on(self, watch: _Watch, told: int) -> Steps[None]:
        """Reads what an event told of; another process may answer that has not seen it yet."""
        for look in range(_LOOKS):
            yield from self._look(watch)
            if watch.version is not None and watch.version >= told:
                return
            yield Pause(self._asker.pause_s(look))

    def _by_polls(self, watch: _Watch) -> Steps[None]:
        """Returns when events are worth a try again. Raises PerpcacheError."""
        while self._asker.now_s() < watch.events_from_s:
            asked_s = self._asker.now_s()
            if (yield from self._look(watch, WAIT_S)):
                continue
            if self._asker.now_s() - asked_s < _HELD_S:
                yield Pause(self._asker.pause_s(2))

    def _look(self, watch: _Watch, wait_s: float = 0.0) -> Steps[bool]:
        """Reads the document; whether it is a newer version, which is then given."""
        try:
            told: Table | Overview | None = yield from watch.read(watch.held, wait_s)
        except NotFound as error:
            if error.unknown:
                raise
            return False  # nothing collected yet
        if told is None:
            return False
        version = told.version if isinstance(told, Table) else told.get("version")
        if type(version) is not int:
            raise BadAnswer("the answer has no version")
        if not self._is_newer(watch, version):
            return False
        watch.version = version
        yield Give(told)
        return True

    def _is_newer(self, watch: _Watch, version: int) -> bool:
        if watch.version is None or version > watch.version:
            return True
        if version < watch.version and version != watch.skipped:
            watch.skipped = version
            log.warning(
                "watching %s: version %d is older than %d and left out",
                *(watch.name, version, watch.version),
            )
        return False


def _version_told(event: Event, name: str) -> int | None:
    """The version of this document that the event tells of; 0 for a `reset`, which may mean any."""
    if event.kind == "reset":
        return 0
    if event.kind != "document":
        return None
    try:
        told: Any = json.loads(event.data)
        version = int(told["version"])
        return version if told["name"] == name else None
    except (ValueError, KeyError, TypeError):
        raise BadAnswer("the event is not one of Perpcache") from None
