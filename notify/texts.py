"""The texts of messages, plain and for a phone: what is wrong, since when, what to do, where."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from notify.decisions import Message, Reason, Sending
from notify.record import Known
from status.problem import Severity
from texts.foreign import cut

_MOST_LISTED: Final = 20
_LONGEST_TEXT: Final = 600  # characters of a problem's text
_LONGEST_LISTED: Final = 160  # the same in a digest
MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Text:
    """A message as it is sent. `level` is one of apprise's types: info, success, warning or
    failure."""

    title: str
    body: str
    level: str


@dataclass(frozen=True, slots=True)
class Writer:
    """`installation`: the name in every title; `public_url`: where the page is, for links."""

    installation: str
    public_url: str | None = None

    def text_of(self, message: Message, at_ms: int) -> Text:
        """The message, sent at this time (UTC ms)."""
        if message.reason is Reason.DIGEST:
            return self._digest(message.sendings, at_ms)
        return self._one(message.sendings[0], at_ms)

    def test_text(self) -> Text:
        """What `notify-test` sends."""
        body = (
            "This is a test. What is wrong with this service will be told here: when it begins,"
            " once more if it lasts, and when it is over."
        )
        return Text(f"[test] {self.installation}: notifications", self._with_link(body), "info")

    def _one(self, sending: Sending, at_ms: int) -> Text:
        known, problem = sending.known, sending.known.problem
        title = f"[{_mark(sending)}] {self.installation}: {_name(known)}"
        if sending.reason is Reason.ENDED:
            lines = [f"Over: {_lasted(known)}", f"It was: {cut(problem.text, _LONGEST_TEXT)}"]
            return Text(title, self._with_link("\n".join(lines)), "success")
        since = f"Since {_moment(known.since_ms, at_ms)} ({_length(at_ms - known.since_ms)})."
        lines = [cut(problem.text, _LONGEST_TEXT), since, f"What to do: {problem.todo}"]
        return Text(title, self._with_link("\n".join(lines)), _level([sending]))

    def _digest(self, sendings: Sequence[Sending], at_ms: int) -> Text:
        over = [sending for sending in sendings if sending.reason is Reason.ENDED]
        there = [sending for sending in sendings if sending.reason is not Reason.ENDED]
        counts = [f"{len(there)} problem{'s' * (len(there) > 1)}"] * bool(there)
        counts += [f"{len(over)} over"] * bool(over)
        mark = _mark(there[0]) if there else "over"
        lines: list[str] = []
        for sending in [*there, *over][:_MOST_LISTED]:
            known, problem = sending.known, sending.known.problem
            text = cut(problem.text, _LONGEST_LISTED)
            lines.append(f"- [{_mark(sending)}] {_name(known)}: {text}")
            if sending.reason is Reason.ENDED:
                lines.append(f"  {_lasted(known)}")
            else:
                lines.append(f"  Since {_moment(known.since_ms, at_ms)}. {problem.todo}")
        if (more := len(sendings) - _MOST_LISTED) > 0:
            lines.append(f"- and {more} more")
        title = f"[{mark}] {self.installation}: {', '.join(counts)}"
        return Text(title, self._with_link("\n".join(lines)), _level(there))

    def _with_link(self, body: str) -> str:
        return body if self.public_url is None else f"{body}\nLook: {self.public_url}/ui/"


def _mark(sending: Sending) -> str:
    match sending.reason:
        case Reason.ENDED:
            return "over"
        case Reason.AGAIN:
            return f"still {sending.known.problem.severity}"
        case Reason.WORSE:
            return f"now {sending.known.problem.severity}"
        case _:
            return str(sending.known.problem.severity)


def _level(there: Sequence[Sending]) -> str:
    if not there:
        return "success"
    critical = any(one.known.problem.severity is Severity.CRITICAL for one in there)
    return "failure" if critical else "warning"


def _name(known: Known) -> str:
    words = str(known.problem.kind).replace("_", " ")
    return f"{words}: {known.problem.subject}" if known.problem.subject else words


def _lasted(known: Known) -> str:
    over_ms = known.first_ms if known.over_ms is None else known.over_ms
    begin, end = _moment(known.since_ms, over_ms), _moment(over_ms, over_ms)
    return f"it lasted {_length(over_ms - known.since_ms)}, from {begin} to {end}."


def _moment(moment_ms: int, at_ms: int) -> str:
    """`14:05 UTC`, with the date if it is another day's than that of `at_ms`."""
    moment, at = (datetime.fromtimestamp(each / 1000, UTC) for each in (moment_ms, at_ms))
    if moment.date() == at.date():
        return f"{moment:%H:%M} UTC"
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _length(length_ms: int) -> str:
    """`40 s`, `5 min`, `3 h 20 min`, `2 d 4 h`."""
    minutes, hours = length_ms // MINUTE_MS, length_ms // (60 * MINUTE_MS)
    if minutes < 1:
        return f"{max(0, length_ms) // 1000} s"
    if hours < 1:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
