"""Decides by status, headers and body of what class an answer is, or that it can be read.

Rules of the row come first, then its provider's, then what holds for everybody.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from budgets.headers import number_of, retry_after_s
from providers.errors import ErrorClass, ProviderError
from providers.exact import BOM, NotJson, is_none, json_of
from providers.explorer_errors import Fault, etherscan_fault, tron_fault
from providers.paths import as_text
from providers.questions import Kind
from providers.readers.fields import field_of
from providers.resources import ErrorRule, Resource
from providers.rpc_errors import rpc_fault
from providers.told_errors import told_fault
from providers.wording import KEY, LIMITED, spent_period
from texts.foreign import foreign_text

OK: Final = "ok"  # the class of a rule that says that it is an answer
_LARGEST_ERROR: Final = 65_536  # bytes: a longer body of status 200 is an answer
_LONGEST_SHOWN: Final = 200
_DAY_MS: Final = 86_400_000
_LONGEST_PAUSE_MS: Final = 3 * _DAY_MS  # of a ban; what asks for more is not believed
_RESETS: Final = ("x-ratelimit-reset", "ratelimit-reset", "x-rate-limit-reset")
_EPOCH_S: Final = 1_000_000_000
_LONGEST_RESET_S: Final = 900  # of a reset in seconds; greater ones are milliseconds
# What Cloudflare says to those who do not ask for a page.
_WALLED: Final = re.compile(r"error.?code\W{1,4}10(?:0[6-9]|1[0-2]|20)\b", re.IGNORECASE)
_LONGEST_TEXT: Final = 500  # bytes of a refusal in plain words
_SUSPENDED: Final = re.compile(r"(?:suspended|banned|retry|try again)\D{0,30}(\d{1,5}) ?s", re.I)
# Of content networks (Cloudflare's 1006 to 1009 and 1020), and of providers.
_GEO: Final = re.compile(
    r"error code:? ?\"?10(?:0[6-9]|20)\b|\byour (?:country|region|location|jurisdiction)|"
    r"restricted (?:location|region|country|jurisdiction)|geo.?(?:block|restrict)",
    re.IGNORECASE,
)
_BY_STATUS: Final = {
    401: ErrorClass.KEY_REJECTED,
    402: ErrorClass.QUOTA_SPENT,
    403: ErrorClass.PLAN_FORBIDS,
    407: ErrorClass.KEY_REJECTED,
    408: ErrorClass.TRANSIENT,
    418: ErrorClass.RATE_LIMITED,
    425: ErrorClass.TRANSIENT,
    426: ErrorClass.PLAN_FORBIDS,
    429: ErrorClass.RATE_LIMITED,
    451: ErrorClass.GEO_BLOCKED,
}
# Statuses whose text may say that it is another refusal, and those of them that mean no key.
_REFUSALS: Final = (400, 402, 403, 422, 429)
_OF_KEYS: Final = (200, 400, 403, 422)
# What words and codes say less surely than a status does.
_VAGUE: Final = (ErrorClass.BAD_PAYLOAD, ErrorClass.TRANSIENT)
# Kinds whose subjects a provider may not have: a 404 is then an answer about the subject.
_OF_SUBJECTS: Final = (Kind.PRICE, Kind.BALANCE, Kind.SENTIMENT)
# Kinds that carry a user's own words to the provider.
_OF_CALLERS: Final = (Kind.BALANCE, Kind.RPC)
# Envelopes whose faults are known by their reader.
_ENVELOPES: Final[Mapping[str, Callable[[Any], Fault | None]]] = {
    "etherscan": etherscan_fault,
    "etherscan_tokentx": etherscan_fault,
    "jsonrpc": rpc_fault,
    "rpc_gas": rpc_fault,
    "rpc_head": rpc_fault,
    "rpc_balance": rpc_fault,
    "tron": tron_fault,
}


def classify(
    resource: Resource, status: int, headers: Mapping[str, str], body: bytes, now_ms: int
) -> ProviderError | None:
    """None where the answer can be read. `headers`: by any case (CIMultiDict). The message holds
    what the provider said, which may repeat the key: requests.secrets_shown takes it out."""
    answer = _Answer(resource, status, headers, body)
    for rule in (*resource.errors, *resource.provider.errors):
        # With another status a body counts where it says more than the status does.
        vague = rule.error_class == ErrorClass.BAD_PAYLOAD and not rule.status and status >= 400
        if not vague and answer.fits(rule):
            if rule.error_class == OK:
                return None
            return answer.error(ErrorClass(rule.error_class), answer.said(), now_ms, rule.until)
    found = answer.by_body() or answer.by_status()
    return None if found is None else answer.error(*found, now_ms)


class _Answer:
    def __init__(
        self, resource: Resource, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        self.resource = resource
        self.status = status
        self.headers = headers
        self.body = body.removeprefix(BOM)
        self._document: Any = None
        self._parsed = False

    @property
    def document(self) -> Any:
        """The body as JSON where it may be an error, else None."""
        if not self._parsed:
            self._parsed = True
            if len(self.body) <= _LARGEST_ERROR and self.body.lstrip()[:1] in (b"{", b"["):
                try:
                    self._document = json_of(self.body)
                except NotJson:
                    self._document = None
        return self._document

    @property
    def is_page(self) -> bool:
        """HTML where something else is due."""
        kind = self.headers.get("Content-Type", "").lower()
        start = self.body.lstrip()[:100].lower()
        return ("text/html" in kind and start[:1] == b"<") or start.startswith(
            (b"<!doctype html", b"<html")
        )

    def fits(self, rule: ErrorRule) -> bool:
        if rule.status and self.status not in rule.status:
            return False
        if rule.path is None and rule.matches is None and rule.unless is None:
            return True
        text = self._text_at(rule.path)
        if text is None:
            return False
        if rule.unless is not None and _compiled(rule.unless).search(text):
            return False
        return rule.matches is None or _compiled(rule.matches).search(text) is not None

    def _text_at(self, path: str | None) -> str | None:
        if path is None:
            if len(self.body) > _LARGEST_ERROR:
                return None
            return self.body.decode(errors="replace")
        if self.document is None:
            return None
        found = (each.find(self.document) for each in field_of(path).paths)
        value = next((each for each in found if not is_none(each)), None)
        if is_none(value) or value in ([], {}):
            return None
        text = as_text(value)
        return json.dumps(value, default=str)[:_LARGEST_ERROR] if text is None else text

    def by_body(self) -> tuple[ErrorClass, str] | None:
        """What an envelope says, whatever the status."""
        document = self.document
        if isinstance(document, dict) and "jsonrpc" in document:
            return rpc_fault(document)  # it says more than any status
        fault_of = _ENVELOPES.get(self.resource.reader, told_fault)
        fault = None if document is None else fault_of(document)
        # With another status a body counts where it says more than the status does.
        if fault is not None and self.status != 200 and fault[0] in _VAGUE:
            return None
        if fault is not None and self.status in (402, 429) and fault[0] is ErrorClass.KEY_REJECTED:
            return None  # who has none is told to get one
        return fault

    def by_status(self) -> tuple[ErrorClass, str] | None:
        status = self.status
        if 200 <= status < 300 or status == 304:
            return self._of_success()
        if status == 403 and (self.is_page or _WALLED.search(self.said())):  # Cloudflare and others
            found = ErrorClass.GEO_BLOCKED
        elif status in _REFUSALS and (worded := self._worded()) is not None:
            found = worded
        elif status in _BY_STATUS:
            found = _BY_STATUS[status]
        elif status in (404, 410):
            of_subject = self.resource.kind in _OF_SUBJECTS
            found = ErrorClass.UNKNOWN if of_subject else ErrorClass.BAD_PAYLOAD
        elif status >= 500:
            found = ErrorClass.TRANSIENT
        elif status in (400, 422) and self.resource.kind in _OF_CALLERS:
            found = ErrorClass.CALLER_FAULT
        else:
            found = ErrorClass.BAD_PAYLOAD
        return found, self.said()

    def _worded(self) -> ErrorClass | None:
        """What the text of a refusal says that its status does not."""
        text = self.said()
        if spent_period(text) is not None:
            return ErrorClass.QUOTA_SPENT
        if LIMITED.search(text):
            return ErrorClass.RATE_LIMITED
        if self.status == 403 and _GEO.search(text):
            return ErrorClass.GEO_BLOCKED
        told_of_key = self.status in _OF_KEYS and KEY.search(text)
        return ErrorClass.KEY_REJECTED if told_of_key else None

    def _of_success(self) -> tuple[ErrorClass, str] | None:
        if self.status != 304 and self.is_page:
            return ErrorClass.TRANSIENT, "a page of HTML where an answer is due"
        if self.status == 204 or (self.status == 200 and not self.body.strip()):
            return ErrorClass.TRANSIENT, "an empty body"
        start = self.body.lstrip()[:1]
        if len(self.body) <= _LONGEST_TEXT and start not in (b"{", b"[", b"<"):
            worded = self._worded()
            return None if worded is None else (worded, self.said())
        return None

    def said(self) -> str:
        """What the provider said, shortly."""
        if self.is_page:
            return "a page of HTML"
        return foreign_text(self.body[: 4 * _LONGEST_SHOWN].decode(errors="replace"))

    def error(
        self, error_class: ErrorClass, said: str, now_ms: int, until: str | None = None
    ) -> ProviderError:
        told = said[:_LONGEST_SHOWN]
        return ProviderError(
            error_class,
            f"{self.resource.id}: {self.status}{': ' if told else ''}{told}",
            until_ms=self._until_ms(error_class, now_ms, until),
        )

    def _until_ms(self, error_class: ErrorClass, now_ms: int, until: str | None) -> int | None:
        if error_class is ErrorClass.QUOTA_SPENT:
            return end_of(until or spent_period(self.said()) or "day", now_ms)
        if error_class is ErrorClass.GEO_BLOCKED:
            return now_ms + _DAY_MS
        if error_class is not ErrorClass.RATE_LIMITED:
            return None
        pause_ms = self._pause_ms(now_ms)
        if pause_ms is None or pause_ms <= 0:
            return None
        return now_ms + min(pause_ms, _LONGEST_PAUSE_MS)

    def _pause_ms(self, now_ms: int) -> int | None:
        """How long the provider wants not to be asked, None where it does not say."""
        stated_s = retry_after_s(self.headers, now_ms)
        if stated_s is not None:
            return int(stated_s * 1000)
        for name in _RESETS:
            reset = number_of(self.headers, name)
            if reset:
                return _reset_ms(reset, now_ms)
        found = _SUSPENDED.search(self.said())
        return None if found is None else int(found[1]) * 1000


def _reset_ms(reset: int, now_ms: int) -> int:
    """A reset header: seconds from now, or ms where those would be too long, or a time."""
    if reset > _EPOCH_S * 1000:
        return reset - now_ms
    if reset > _EPOCH_S:
        return reset * 1000 - now_ms
    return reset * 1000 if reset <= _LONGEST_RESET_S else reset


def end_of(period: str, now_ms: int) -> int:
    """The end of the day or month (UTC) of a time."""
    if period == "day":
        return (now_ms // _DAY_MS + 1) * _DAY_MS
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
