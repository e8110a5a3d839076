"""Readers that poll every document in different ways and check the answers.

They check what a single reader can see: status, time, coding, validators, and that versions never
fall. The documents themselves are checked by read_checks.
"""

import asyncio
import base64
import random
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import orjson
import redis.asyncio as redis
from yarl import URL

from chaos.checks import DOCUMENTS, GLOBAL_FR, INTERVALS_MS, cut
from chaos.deployment import Deployment
from chaos.names import EXCHANGES
from chaos.read_checks import ReadChecks

_ANSWER_S: Final = 8.0  # an answer is promised within 3 s; a busy machine may take longer
_PAUSE_S: Final = 0.04
_AGE_OFF_S: Final = 1.5  # tolerance: Age has whole seconds, and the clocks are read in turn
_WAIT_S: Final = 3
_STORE_AWAY_S: Final = 0.3
_GZIP_BITS: Final = 31


@dataclass(frozen=True, slots=True)
class Answer:
    """`version`: from the ETag of a 200 or 304. `asked_at`, `came_at`: wall clock, seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    version: int
    asked_at: float
    came_at: float


class Reader(ABC):
    """Reads all documents in turn, in a new order each time."""

    kind: str

    def __init__(self, deployment: Deployment, checks: ReadChecks) -> None:
        self._deployment = deployment
        self._report = deployment.report
        self._checks = checks
        self._chance = random.Random(f"{deployment.plan.seed}:{self.kind}")  # noqa: S311 - repeatable
        self._versions: dict[str, int] = {}
        self._session = aiohttp.ClientSession(
            auto_decompress=False, timeout=aiohttp.ClientTimeout(total=_ANSWER_S + 10)
        )

    async def run(self) -> None:
        names = list(DOCUMENTS)
        me = asyncio.current_task()
        try:
            while True:
                self._chance.shuffle(names)
                for name in names:
                    await self.read(name)
                    if me is not None and me.cancelling():  # a client library swallowed the error
                        return
                    await asyncio.sleep(_PAUSE_S)
        finally:
            await self._session.close()

    @abstractmethod
    async def read(self, name: str) -> None:
        """Reads one document once."""

    async def get(
        self, name: str, coding: str = "identity", query: str = "", etag: str = "",
        wait_s: float = 0,
    ) -> Answer | None:  # fmt: skip
        """Sends a request; returns the answer if it is a 200, or a 304 to `etag`."""
        headers = {"Accept-Encoding": coding} | ({"If-None-Match": etag} if etag else {})
        path = f"/cache/{name}" + (f"?{query}" if query else "")
        since, asked_at = time.monotonic(), time.time()
        try:
            url = URL(self._chance.choice(self._deployment.apis) + path, encoded=True)
            async with self._session.get(url, headers=headers) as reply:
                body = await reply.read()
                status, sent = reply.status, reply.headers
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._report.answers["none, for a fault"] += 1
            if not self._deployment.outages.overlap(since, time.monotonic()):
                self._violate("the API answers", f"{path}: {type(error).__name__} {error}")
            return None
        until = time.monotonic()
        self._report.reads[self.kind] += 1
        self._report.answers[str(status)] += 1
        if until - since > _ANSWER_S + wait_s and not self._deployment.outages.overlap(
            since, until
        ):
            self._violate("the API answers in time", f"{path} took {until - since:.1f} s")
        version = self._check_answer(path, name, status, sent, body, etag)
        if version is not None:
            self.record_version(name, version, since)
        if version is None:
            return None
        return Answer(status, sent, body, version, asked_at, time.time())

    def _check_answer(
        self, path: str, name: str, status: int, headers: Mapping[str, str], body: bytes,
        etag: str,
    ) -> int | None:  # fmt: skip
        """Checks an answer; returns the version of a 200 or 304, else None."""
        if status == 404 and name not in self._versions:
            return None
        if status == 503:
            if not _detail(body):
                self._violate("a refusal says why", f"{path}: {body[:200]!r}")
            return None
        if status not in (200, 304) or (status == 304 and not etag):
            self._violate("a known document is answered 200, 304 or 503", f"{path}: {status}")
            return None
        version = _version(headers.get("ETag", ""))
        if version is None:
            self._violate("every answer has an ETag", f"{path}: {headers.get('ETag')!r}")
        return version

    def record_version(self, name: str, version: int, since: float) -> None:
        """Records the version of an answer to a request sent at `since`; it must never fall.

        While the store is away, and after a document's value was lost until the next is published,
        each API process answers with its own copy, and one copy may be older than another's.
        """
        before = self._versions.get(name, 0)
        away = self._deployment.store_outages.overlap(since, time.monotonic())
        away |= before <= self._deployment.lost_versions.get(name, 0)
        if version < before and not away:
            self._violate("no version falls", f"{name}: {version} after {before}")
        self._versions[name] = max(version, before)

    async def check_document(self, name: str, answer: Answer, text: bytes) -> Any:
        """Checks the document of a 200 and its Age; returns it parsed, or None if invalid."""
        document = await self._checks.document(name, text, answer.version)
        if document is not None:
            made_at = document["updated_at"] / 1000
            youngest, oldest = answer.asked_at - made_at, answer.came_at - made_at
            age = answer.headers.get("Age", "")
            if not (age.isdecimal() and youngest - _AGE_OFF_S < int(age) < oldest + _AGE_OFF_S):
                is_old = f"it is {youngest:.1f} to {oldest:.1f} s old"
                self._violate("Age is the document's age", f"{name}: {age!r}, but {is_old}")
        return document

    def _violate(self, promise: str, what: str) -> None:
        self._report.violate(promise, f"{self.kind} reader: {what}")


class Plain(Reader):
    """Reads plain JSON, as curl does."""

    kind = "plain"

    async def read(self, name: str) -> None:
        answer = await self.get(name)
        if answer is not None:
            await self.check_document(name, answer, answer.body)


class Polling(Reader):
    """Polls compressed documents with If-None-Match, as a bot should."""

    kind = "polling"

    def __init__(self, deployment: Deployment, checks: ReadChecks) -> None:
        super().__init__(deployment, checks)
        self._etags: dict[str, str] = {}

    async def read(self, name: str) -> None:
        coding = self._chance.choice(("deflate", "gzip"))
        await self._poll(name, coding, "", 0)

    async def _poll(self, name: str, coding: str, query: str, wait_s: float) -> None:
        etag = self._etags.get(name, "")
        answer = await self.get(name, coding, query, etag, wait_s)
        if answer is None:
            return
        self._etags[name] = answer.headers["ETag"]
        if answer.status == 304:
            if _version(etag) != answer.version:
                self._violate("304 is for what the reader has", f"{name}: {etag}, {answer.headers}")
            return
        if answer.headers.get("Content-Encoding") != coding:
            self._violate("the coding asked for", f"{name}: {answer.headers}")
            return
        try:
            text = zlib.decompress(answer.body, _GZIP_BITS if coding == "gzip" else 15)
        except zlib.error as error:
            self._violate("a body is whole", f"{name} {coding}: {error}")
            return
        await self.check_document(name, answer, text)


class Waiting(Polling):
    """Long-polls for new versions."""

    kind = "waiting"

    async def read(self, name: str) -> None:
        await self._poll(name, "deflate", f"wait={_WAIT_S}", _WAIT_S)


class ByParts(Reader):
    """Reads filtered documents and compares them with whole ones."""

    kind = "parts"

    async def read(self, name: str) -> None:
        query = self._query(name)
        words = urlencode({key: _word(value) for key, value in query.items()})
        whole = await self.get(name)
        part = await self.get(name, query=words)
        if whole is None or part is None:
            return
        document = await self.check_document(name, whole, whole.body)
        try:
            found = orjson.loads(part.body)
        except orjson.JSONDecodeError as error:
            self._violate("valid JSON", f"{name}?{words}: {error}")
            return
        if part.version != whole.version:
            document = self._checks.recent(name, part.version)
        if document is None:
            self._report.compared["parts of a version not kept"] += 1
            return
        self._report.compared["parts"] += 1
        if found != cut(document, query):
            self._violate("a part equals its whole", f"{name}?{words}, version {part.version}")

    def _query(self, name: str) -> dict[str, Any]:
        query: dict[str, Any] = {}
        markets = self._checks.markets(name)
        if self._chance.random() < 0.4:
            query["exchange"] = self._chance.choice(EXCHANGES)
        if markets and self._chance.random() < 0.5:
            query["symbol"] = sorted({self._chance.choice(markets) for _ in range(3)})
        if name != GLOBAL_FR and self._chance.random() < 0.3:
            back_ms = self._chance.randrange(1, 60) * INTERVALS_MS[name]
            query["since"] = self._deployment.clock.now_ms() - back_ms
        if self._chance.random() < 0.3:
            query["closed"] = True
        if not query or self._chance.random() < 0.5:
            query["limit"] = self._chance.randrange(1, 20)
        return query


class Direct(Reader):
    """Reads the documents from the store, without the API."""

    kind = "direct"

    async def read(self, name: str) -> None:
        key = self._deployment.key(f"cache:{name}")
        since, asked_ms = time.monotonic(), time.time() * 1000
        try:
            async with self._deployment.store() as store:
                value, meta = await store.mget(key, f"{key}:meta")
                foreign = value is None and await store.type(key) == b"list"
        except (redis.RedisError, OSError, ValueError):
            self._report.answers["none, for a fault"] += 1
            await asyncio.sleep(_STORE_AWAY_S)
            return
        self._report.reads[self.kind] += 1
        if foreign:  # a fault put it there
            return
        if value is None or meta is None:
            if name in self._versions or (value is None) != (meta is None):
                self._violate("a document stays whole in the store", f"{name}: {meta!r}")
            return
        try:
            text = zlib.decompress(base64.b64decode(value, validate=True))
            version = int(orjson.loads(meta)["version"])
        except (ValueError, zlib.error, KeyError) as error:
            self._violate("a document is whole in the store", f"{name}: {error}")
            return
        self.record_version(name, version, since)
        document = await self._checks.document(name, text, version)
        if document is not None:
            self._checks.up_to_date(name, document, asked_ms)


READERS: Final = (Plain, Polling, Waiting, ByParts, Direct)


def _detail(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def _version(etag: str) -> int | None:
    number = etag.strip('"').partition("-")[0]
    return int(number) if number.isdecimal() and etag.startswith('"') else None


def _word(value: Any) -> str:
    if value is True:
        return "true"
    return ",".join(value) if isinstance(value, list) else str(value)
