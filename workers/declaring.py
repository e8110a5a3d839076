"""Makes a WorkerDefinition of a decorator's arguments; notes every mistake, not the first alone."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from addresses.setting_types import check_queue
from job_queue.kinds import collect_id, job_definition
from market.timeframes import Timeframe
from workers.definition import ANY_EGRESS, LONGEST_TIMEOUT_S, MOST_ATTEMPTS, WorkerDefinition
from workers.schedule_words import check_cron, check_zone, period_s

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_EGRESS: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHOWN: Final = 80  # characters of a wrong value
_FEWEST_S: Final = 0.001

T = TypeVar("T")


class Declaring:
    """One declaration being read. Each reader returns what the definition gets, or something in
    its place where the value is wrong; `mistakes` are then not empty."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def wrong(self, field: str, text: str) -> None:
        self.mistakes.append(f"{field}: {text}")

    def read(self, field: str, reading: Callable[[], T], instead: T) -> T:
        """What `reading` returns; `instead`, and a mistake, where it raises ValueError."""
        try:
            return reading()
        except ValueError as error:
            self.wrong(field, str(error))
            return instead

    def name(self, name: str) -> str:
        if not NAME.fullmatch(name):
            self.wrong(
                "name",
                f"{told(name)} must be 1 to 63 lower-case letters, digits and _, a letter first;"
                " say another with name=...",
            )
        return name

    def schedule(
        self, cron: object, every: Any, offset: Any, tz: object
    ) -> tuple[str | None, int | None, int, str | None]:
        """cron, every_s, offset_s and tz of the definition."""
        if cron is not None and every is not None:
            self.wrong("every", "excludes a cron expression: give one of them")
        expression = None if cron is None else self.read("cron", lambda: check_cron(cron), "")
        every_s = None if every is None else self.read("every", lambda: period_s(every), 1)
        offset_s = self.read("offset", lambda: period_s(offset, least_s=0), 0)
        if offset_s and every_s is None:
            self.wrong("offset", "goes with every; put it into the cron expression")
        elif every_s is not None and offset_s >= every_s and not self.mistakes:
            self.wrong("offset", f"{told(offset)} must be shorter than every, {told(every)}")
        zone = None if tz is None else self.read("tz", lambda: check_zone(tz), "UTC")
        if zone is not None and cron is None:
            self.wrong("tz", "goes with a cron expression")
        return expression, every_s, offset_s, zone

    def queue(self, queue: object) -> str:
        return self.read("queue", lambda: check_queue(str(queue)), "default")

    def egress(self, egress: object) -> str:
        if not isinstance(egress, str) or not _EGRESS.fullmatch(egress):
            self.wrong("egress", f"{told(egress)} must be {ANY_EGRESS}, or the EGRESS_ID of hosts")
        return str(egress)

    def timeout(self, timeout: Any) -> float:
        """Seconds, or a period."""
        if isinstance(timeout, str):
            timeout = self.read("timeout", lambda: period_s(timeout), 1)
        if not _is_number(timeout) or not _FEWEST_S <= timeout <= LONGEST_TIMEOUT_S:
            self.wrong(
                "timeout", f"{told(timeout)} must be above 0 s, at most {LONGEST_TIMEOUT_S:g} s"
            )
            return 1.0
        return float(timeout)

    def attempts(self, attempts: Any) -> int:
        whole = isinstance(attempts, int) and not isinstance(attempts, bool)
        if not whole or not 1 <= attempts <= MOST_ATTEMPTS:
            self.wrong("attempts", f"{told(attempts)} must be a whole number, 1 to {MOST_ATTEMPTS}")
            return 1
        return int(attempts)

    def one_of(self, field: str, value: object, *words: str) -> Any:
        if value not in words:
            self.wrong(field, f"{told(value)} must be one of {', '.join(words)}")
        return value

    def flag(self, field: str, value: object) -> bool:
        if not isinstance(value, bool):
            self.wrong(field, f"{told(value)} is neither True nor False")
        return bool(value)

    def config(self, config: object) -> type[BaseModel] | None:
        if config is None or (isinstance(config, type) and issubclass(config, BaseModel)):
            return config
        self.wrong("config", f"{told(config)} must be a class on pydantic's BaseModel")
        return None

    def url(self, url: object) -> str | None:
        """The address of a WebSocket. Where it is wrong is told when it is opened: a value of the
        configuration may take its place."""
        if url is None or (isinstance(url, str) and re.match(r"wss?://\S", url)):
            return url
        self.wrong("url", "must begin with ws:// or wss://")
        return None

    def refreshes(self, kind: object, timeframes: Any, jobs: Any) -> tuple[str, ...]:
        """The ids of the jobs that a worker of kind `refresh` asks for."""
        self.one_of("kind", kind, "schedule", "refresh")
        if kind != "refresh":
            if kind == "schedule" and (timeframes or jobs):
                self.wrong("timeframes" if timeframes else "jobs", 'goes with kind="refresh"')
            return ()
        none: list[str] = []
        asked = self.read("timeframes", lambda: list(map(_collection, _words(timeframes))), none)
        asked += self.read("jobs", lambda: [job_definition(word).id for word in _words(jobs)], none)
        if not (timeframes or jobs):
            self.wrong("timeframes", 'kind="refresh" needs timeframes, such as 5m,15m, or jobs')
        return tuple(dict.fromkeys(asked))

    def definition(self, values: Mapping[str, Any]) -> WorkerDefinition | None:
        """The definition; None where there were mistakes."""
        return None if self.mistakes else WorkerDefinition(**values)


def told(value: object) -> str:
    """A wrong value for a message."""
    return repr(value)[:_SHOWN]


def _collection(timeframe: str) -> str:
    try:
        return collect_id(Timeframe(timeframe))
    except ValueError:
        names = ", ".join(Timeframe)
        raise ValueError(f"{told(timeframe)} is no timeframe: they are {names}") from None


def _words(value: str | Sequence[str] | None) -> list[str]:
    """`5m,15m`, or the same as a list."""
    words = value.split(",") if isinstance(value, str) else (value or ())
    return [str(word).strip() for word in words]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
