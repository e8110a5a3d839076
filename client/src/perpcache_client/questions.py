"""What can be asked: each question is a generator of steps (asking.py) that returns its answer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal, TypeVar, cast
from urllib.parse import quote

from perpcache_client.asking import Asker, Pause, Reply, Request, Steps
from perpcache_client.errors import BadAnswer, InvalidRequest, JobFailed, NotFound, Timeout
from perpcache_client.overviews import MarketOfAsset, Overview
from perpcache_client.reading import read_arrow, read_json
from perpcache_client.records import Job, Market, job_from, market_from
from perpcache_client.table import Table

Json = dict[str, Any]
Time = int | str | datetime
Names = str | Iterable[str]
HistoryKind = Literal["candles", "open-interest", "funding", "prices"]
OVERVIEW: Final = "overview"
ARROW: Final = "application/vnd.apache.arrow.stream"
# A service without Arrow documents may be updated; it is asked for them again after this time.
_ASK_AGAIN_S: Final = 600.0
_LONGEST_POLL_S: Final = 2.0

R = TypeVar("R")


@dataclass(slots=True)
class Held:
    """What a reader has of a document: the entity tag of its last answer, in which form."""

    etag: str = ""
    arrow: bool = True


class Questions:
    """The questions to one service."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self._no_arrow_until_s = float("-inf")

    def table(
        self,
        name: str,
        params: tuple[tuple[str, str], ...],
        held: Held | None = None,
        wait_s: float = 0.0,
    ) -> Steps[Table | None]:
        """The document as a table; None if it is what `held` says, which is then brought up to
        date. A document as of a time comes as JSON, in which every service tells it."""
        held = Held() if held is None else held
        if wait_s:
            params = (*params, ("wait", f"{wait_s:g}"))
        of_the_past = any(key == "as_of" for key, _ in params)
        if not of_the_past and self.asker.now_s() >= self._no_arrow_until_s:
            try:
                return (yield from self._document(name, params, held, wait_s, arrow=True))
            except InvalidRequest as error:
                if not any(each.get("loc") == ["path", "name"] for each in error.errors):
                    raise
        table = yield from self._document(name, params, held, wait_s, arrow=False)
        if not of_the_past and self.asker.now_s() >= self._no_arrow_until_s:
            self._no_arrow_until_s = self.asker.now_s() + _ASK_AGAIN_S
        return table

    def _document(
        self,
        name: str,
        params: tuple[tuple[str, str], ...],
        held: Held,
        wait_s: float,
        *,
        arrow: bool,
    ) -> Steps[Table | None]:
        headers = {"Accept": ARROW} if arrow else {"Accept-Encoding": "deflate"}
        if held.etag and held.arrow == arrow:
            headers["If-None-Match"] = held.etag
        path = f"/cache/{quote(name, safe='')}" + (".arrow" if arrow else "")

        def read(reply: Reply) -> Table | None:
            if reply.status == 304:
                return None
            table = read_arrow(reply, name) if arrow else read_json(reply, name)
            held.etag, held.arrow = reply.headers.get("etag", ""), arrow
            return table

        return (yield from self.asker.ask(Request(path, params, headers, wait_s=wait_s), read))

    def whole_table(self, name: str, params: tuple[tuple[str, str], ...]) -> Steps[Table]:
        table = yield from self.table(name, params)
        if table is None:
            raise BadAnswer("304 to a request without an entity tag", status=304)
        return table

    def history(
        self, kind: HistoryKind, symbol: Names, exchange: str | None, **params: Any
    ) -> Steps[Table]:
        given = pairs(format="arrow", **params)
        names = [symbol] if isinstance(symbol, str) else list(symbol)
        if kind == "prices":
            if len(names) != 1:
                raise InvalidRequest("the history of prices is of one symbol at a time")
            path = f"/api/historical/prices/{quote(names[0], safe='')}"
            given = (*given, *pairs(exchange=exchange))
        else:
            path = f"/api/historical/{kind}"
            if exchange is not None:
                names = [f"{exchange}:{each}" for each in names]
            given = (*given, ("symbols", ",".join(names)))
        request = Request(path, given, {"Accept": ARROW})
        return (yield from self.asker.ask(request, partial(read_arrow, name=None)))

    def json(self, path: str, params: tuple[tuple[str, str], ...] = ()) -> Steps[Json]:
        return (yield from self.asker.ask(Request(path, params), _object))

    def one(self, path: str, name: str) -> Steps[Json]:
        return (yield from self.json(f"{path}/{quote(name, safe='')}"))

    def markets(
        self, exchange: str | None, timeframe: str | None, as_of: Time | None
    ) -> Steps[list[Market]]:
        params = pairs(exchange=exchange, timeframe=timeframe, as_of=as_of)
        read = partial(_records, key="coins", make=market_from)
        return (yield from self.asker.ask(Request("/coins", params), read))

    def overview(self, assets: Names | None, as_of: Time | None = None) -> Steps[Overview]:
        params = pairs(asset=assets, as_of=as_of)
        request = Request(f"/cache/{OVERVIEW}", params, {"Accept-Encoding": "deflate"})
        told = yield from self.asker.ask(request, partial(_with_list, key="assets"))
        return cast("Overview", told)

    def newer_overview(
        self, assets: Names | None, held: Held, wait_s: float
    ) -> Steps[Overview | None]:
        """The overview; None if it is what `held` says, which is then brought up to date."""
        headers = {"Accept-Encoding": "deflate"}
        if held.etag:
            headers["If-None-Match"] = held.etag
        params = pairs(asset=assets, wait=f"{wait_s:g}" if wait_s else None)

        def read(reply: Reply) -> Json | None:
            if reply.status == 304:
                return None
            told = _with_list(reply, "assets")
            held.etag = reply.headers.get("etag", "")
            return told

        request = Request(f"/cache/{OVERVIEW}", params, headers, wait_s=wait_s)
        return cast("Overview | None", (yield from self.asker.ask(request, read)))

    def market(self, asset: str, as_of: Time | None = None) -> Steps[MarketOfAsset]:
        request = Request(f"/market/{quote(asset, safe='')}", pairs(as_of=as_of))
        told = yield from self.asker.ask(request, partial(_with_list, key="markets"))
        return cast("MarketOfAsset", told)

    def jobs(self) -> Steps[list[Job]]:
        read = partial(_records, key="jobs", make=job_from)
        return (yield from self.asker.ask(Request("/jobs"), read))

    def job(self, job_id: str) -> Steps[Job]:
        return (yield from self._job(job_id, None))

    def _job(self, job_id: str, within_s: float | None) -> Steps[Job]:
        request = Request(f"/jobs/{quote(job_id, safe=':')}")
        return (yield from self.asker.ask(request, _one_job, within_s))

    def collect(self, timeframe: str, *, wait: bool, timeout_s: float) -> Steps[Job]:
        """Raises JobFailed and Timeout."""
        asker = self.asker
        deadline_s = asker.now_s() + timeout_s
        wish = Request("/get-market-data", method="POST", body={"timeframe": timeframe})
        asked = yield from asker.ask(wish, _one_job, min(timeout_s, asker.timeout_s))
        job, looks = asked, 0
        while wait:
            if job.last is not None and job.last.run >= asked.run:
                if job.last.state == "complete":
                    return job
                cause = job.last.error or "no cause was told"
                raise JobFailed(f"{job.id} {job.last.state}: {cause}", job)
            left_s = deadline_s - asker.now_s()
            if left_s <= 0:
                raise Timeout(
                    f"{job.id} did not end within {timeout_s:g} s: {job.phase}, {job.done} of "
                    f"{job.total}; it goes on"
                )
            yield Pause(min(_LONGEST_POLL_S, left_s, asker.pause_s(looks)))
            looks += 1
            left_s = deadline_s - asker.now_s()
            try:
                job = yield from self._job(asked.id, max(left_s, 1.0))
            except NotFound as error:
                raise JobFailed(f"{asked.id} is not known any more: {error}", job) from error
        return job


def pairs(**params: Any) -> tuple[tuple[str, str], ...]:
    """Query parameters; those that are None are left out, lists are joined, times are UTC ms."""
    return tuple(
        (name.rstrip("_"), _text(value)) for name, value in params.items() if value is not None
    )


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            return str(round(moment.timestamp() * 1000))
        case str() | int() | float():
            return str(value)
        case _:
            return ",".join(map(str, value))


def _object(reply: Reply) -> Json:
    told = reply.json()
    if not isinstance(told, dict):
        raise BadAnswer("the answer is not a JSON object", status=reply.status)
    return cast("Json", told)


def _with_list(reply: Reply, key: str) -> Json:
    """An object with a list under `key`."""
    told = _object(reply)
    if not isinstance(told.get(key), list):
        raise BadAnswer(f"the answer has no list of {key}", status=reply.status)
    return told


def _one_job(reply: Reply) -> Job:
    return _made(reply, _object(reply), job_from)


def _records(reply: Reply, key: str, make: Callable[[Mapping[str, Any]], R]) -> list[R]:
    told = _object(reply).get(key)
    if not isinstance(told, list):
        raise BadAnswer(f"the answer has no list of {key}", status=reply.status)
    return [_made(reply, entry, make) for entry in cast("Sequence[Any]", told)]


def _made(reply: Reply, entry: Any, make: Callable[[Mapping[str, Any]], R]) -> R:
    try:
        return make(entry)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadAnswer(f"the answer lacks a part: {error!r}", status=reply.status) from error
