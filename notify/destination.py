"""One address of NOTIFY_URLS: sends messages by apprise, one after another, each within a deadline.

Apprise blocks, so it runs in a thread, which nothing can end: an address whose thread hangs takes
no other message until it is back, and holds up neither the others nor the end of the process.

A message that others took and this address did not is tried again until it is taken, for a day at
most, and what comes after it waits: an end is never told before its beginning.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Final

import structlog

from addresses.notify_urls import (
    ordinal,
    scheme_of,
    secrets_in_notify_url,
    words_of_notify_url,
)
from logging_setup import OutageLog
from notify.texts import Text
from texts.foreign import foreign_text
from texts.redaction import Redactor
from timing.backoff import Backoff, within

if TYPE_CHECKING:
    from apprise import Apprise

DEADLINE_S: Final = 15.0  # for one attempt
ANSWER_S: Final = 10.0  # for the service's answer, where its address has no `rto`
LOADING_S: Final = 60.0  # for apprise, which takes a second and more of CPU, once
PAUSES_S: Final = (2.0, 10.0)  # before the second and the third attempt
MOST_WAITING: Final = 10  # messages; the newest ones
RETRIES_S: Final = (5.0, 300.0)  # the pauses before a message that others took is tried again
_KEPT_S: Final = 86_400.0
_STUCK: Final = "it waits behind one that this service did not take yet"
_LONGEST_REASON: Final = 200
_LOADING: Final = threading.Lock()  # apprise loads its services once, with the first address

log = structlog.get_logger(__name__)


class WrongUrl(Exception):
    """Apprise does not know the address; the message does not repeat it."""


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A message, `end`: why it was not taken at first, None if it was, and whether another address
    took it, known later."""

    text: Text
    end: "asyncio.Future[str | None]"
    elsewhere: "asyncio.Future[bool] | None"


class Destination:
    """An address of NOTIFY_URLS. `name` is all of it that is shown."""

    def __init__(
        self,
        url: str,
        number: int,
        *,
        deadline_s: float = DEADLINE_S,
        pauses_s: tuple[float, ...] = PAUSES_S,
        retries_s: tuple[float, float] = RETRIES_S,
    ) -> None:
        self.name = f"{scheme_of(url)} ({ordinal(number)} of NOTIFY_URLS)"
        self._url = url
        self._deadline_s = deadline_s
        self._pauses_s = pauses_s
        self._retries_s = retries_s
        self._is_loaded = False
        self._busy: asyncio.Future[str | None] | None = None
        self._waiting: deque[_Parcel] = deque()
        self._is_stuck = False  # it tries one again that others took
        self._woken = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._outage = OutageLog(log, "notification_failed", "notification_taken_again")

    async def send(self, text: Text, elsewhere: "asyncio.Future[bool] | None" = None) -> str | None:
        """None if the service took the message, else why not. Earlier messages go first; of more
        than MOST_WAITING the oldest is dropped. `elsewhere` tells later whether another address
        took it: then one that was not taken here is tried again."""
        end: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Parcel(text, end, elsewhere))
        if self._is_stuck:
            _settle(end, _STUCK)
            self._woken.set()
        if len(self._waiting) > MOST_WAITING:
            dropped = self._waiting.popleft()
            _settle(dropped.end, "dropped: newer messages wait for this service")
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_waiting(), name=f"notify {self.name}")
        return await end

    async def attempt(self, text: Text) -> str | None:
        """The same with one attempt, at once."""
        if self._busy is not None and not self._busy.done():
            return "the service has not answered the message before"
        if not self._is_loaded:
            if (why := await self._within(LOADING_S, self._load)) is not None:
                return why
            self._is_loaded = True
        return await self._within(self._deadline_s, lambda: self._call(text))

    def check(self) -> None:
        """Loads apprise with this address. Raises WrongUrl."""
        _ = self._service

    async def aclose(self) -> None:
        """Drops what waits. A thread that hangs ends with the process."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        while self._waiting:
            _settle(self._waiting.popleft().end, "dropped: the process ends")

    async def _within(self, seconds: float, call: Callable[[], str | None]) -> str | None:
        """What `call` returns, in a thread, or that it took too long."""
        self._busy = _in_thread(call)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._busy)
        except TimeoutError:
            return f"no answer within {seconds:g} s"

    async def _send_waiting(self) -> None:
        while self._waiting:
            parcel = self._waiting.popleft()
            try:
                # One that waited behind another, and that nobody took: it is told again otherwise.
                if not parcel.end.done() or await _is_taken(parcel.elsewhere):
                    await self._send_parcel(parcel)
            finally:
                self._is_stuck = False
                _settle(parcel.end, "dropped: the process ends")

    async def _send_parcel(self, parcel: _Parcel) -> None:
        why = await self._send_one(parcel.text, self._pauses_s)
        _settle(parcel.end, why)
        if why is None or not await _is_taken(parcel.elsewhere):
            return
        self._is_stuck = True
        for waiting in self._waiting:
            _settle(waiting.end, _STUCK)
        backoff = Backoff(*self._retries_s)
        given_up_s = time.monotonic() + _KEPT_S
        while why is not None and time.monotonic() < given_up_s:
            await within(backoff.pause_s(), self._woken.wait())
            self._woken.clear()
            why = await self._send_one(parcel.text, ())
        if why is None:
            log.info("notification_sent_late", to=self.name, title=parcel.text.title)
        else:
            log.warning("notification_dropped", to=self.name, title=parcel.text.title, error=why)

    async def _send_one(self, text: Text, pauses_s: tuple[float, ...]) -> str | None:
        for pause_s in (*pauses_s, None):
            why = await self.attempt(text)
            if why is None:
                self._outage.recovered(to=self.name)
                return None
            self._outage.failed(why, to=self.name)
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        return why

    def _load(self) -> str | None:
        try:
            _ = self._service
        except WrongUrl as error:
            return str(error)
        return None

    def _call(self, text: Text) -> str | None:
        """Sends by apprise, in its thread."""
        from apprise import NotifyFormat, NotifyType

        try:
            sent = self._service.notify(
                text.body,
                title=text.title,
                notify_type=NotifyType(text.level),
                body_format=NotifyFormat.TEXT,
            )
        except Exception as error:  # plugins of many authors
            return self._cleaned(f"{type(error).__name__}: {error}")
        if sent:
            return None
        said = "; ".join(dict.fromkeys(entry.message for entry in sent.logs()))
        return self._cleaned(said or "apprise gives no reason")

    @cached_property
    def _service(self) -> "Apprise":
        import apprise

        # Their lines repeat addresses. Of apprise's own we hear in the results of messages.
        logging.getLogger("apprise").propagate = False
        for name in ("apprise", "urllib3"):
            logging.getLogger(name).setLevel(logging.WARNING)
        asset = apprise.AppriseAsset(app_id="Perpcache", app_desc="Perpcache", async_mode=False)
        service = apprise.Apprise(asset=asset)
        with _LOADING:
            added = service.add(self._url)
        if not added:
            raise WrongUrl(_why_wrong(self._url))
        for plugin in service:
            # Apprise waits 4 s. A slower service has the message all the same, and would get it
            # with each attempt.
            if plugin.socket_read_timeout == apprise.URLBase.socket_read_timeout:
                plugin.socket_read_timeout = ANSWER_S
        return service

    def _cleaned(self, said: str) -> str:
        secrets = [*secrets_in_notify_url(self._url)]
        whole = Redactor([*secrets, *words_of_notify_url(self._url)])
        parts = Redactor(secrets[2:], parts=True)  # but for the address, whose server may be told
        return foreign_text(parts.clean(whole.clean(said[:2000])), _LONGEST_REASON)


def _why_wrong(url: str) -> str:
    """Why apprise takes no such address: its scheme is of no service, or what follows has another
    form than the service's addresses have."""
    import apprise

    scheme = url.partition("://")[0].lower()
    forms: dict[str, str] = {}
    for service in apprise.Apprise().details()["schemas"]:
        for each in (*(service["protocols"] or ()), *(service["secure_protocols"] or ())):
            forms[each] = service["details"]["templates"][0].replace("{schema}", each)
    if scheme in forms:
        return f"apprise takes {forms[scheme]} and the like: see docs/notifications.md"
    near = [f"{each}://" for each in get_close_matches(scheme, forms, 3)]
    hint = f"did you mean {', '.join(near)}?" if near else "see docs/notifications.md"
    return f"apprise has no service with this scheme: {hint}"


async def _is_taken(elsewhere: "asyncio.Future[bool] | None") -> bool:
    return elsewhere is not None and await asyncio.shield(elsewhere)


def _settle(end: "asyncio.Future[str | None]", why: str | None) -> None:
    if not end.done():
        end.set_result(why)


def _in_thread(call: Callable[[], str | None]) -> "asyncio.Future[str | None]":
    """What `call` returns, in a thread that ends with the process at the latest."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str | None] = loop.create_future()

    def run() -> None:
        try:
            why = call()
        except BaseException as error:
            why = f"{type(error).__name__}"
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(_settle, done, why)

    threading.Thread(target=run, name="notify", daemon=True).start()
    return done
