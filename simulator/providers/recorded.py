"""Recorded bodies of providers, by their folder's manifest: sent for the very same requests."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson

from simulator.answers import Answer
from simulator.parameters import read
from simulator.providers.asked import Asked

_HEAD: Final = re.compile(r"(GET|POST) (\S+)(?: (.*))?", re.DOTALL)
# Where the manifest names no host.
_HOSTS: Final = {
    "binance": "data-api.binance.vision", "bybit": "api.bybit.com", "okx": "www.okx.com",
    "coingecko": "api.coingecko.com",
}  # fmt: skip
_FUTURES: Final = "/fapi/"
_KEYS: Final = ("apikey", "api_key", "key", "auth_token")


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded body, and its request; `call` of JSON-RPC: method and parameters."""

    method: str
    host: str
    path: str
    query: dict[str, str]
    call: tuple[str, Any] | None
    status: int
    file: Path

    def answers(self, asked: Asked) -> bool:
        """Whether it was recorded for this request, its keys apart."""
        if (asked.method, asked.host) != (self.method, self.host):
            return False
        if asked.path.rstrip("/") != self.path.rstrip("/"):
            return False
        query = {name: text for name, text in asked.query.items() if name.lower() not in _KEYS}
        return query == self.query and (self.call is None or _call(asked.json()) == self.call)

    def answer(self, request_id: Any = None) -> Answer:
        """The recorded body, with this id in JSON-RPC."""
        body = self.file.read_bytes()
        if request_id is not None:
            body = re.sub(
                rb'("id":\s*)(\d+|null)', rb"\g<1>" + orjson.dumps(request_id), body, count=1
            )
        kind = "application/rss+xml" if self.file.suffix == ".xml" else "application/json"
        return Answer(self.status, body, kind)


class RecordedBodies:
    """The recordings of a folder with a manifest.csv. Raises OSError if there is none."""

    def __init__(self, folder: Path) -> None:
        with (folder / "manifest.csv").open(encoding="utf-8", newline="") as manifest:
            rows = list(csv.DictReader(manifest))
        self._files = {row["file"]: _status(row["status"]) for row in rows}
        self._folder = folder
        self.recordings = [found for row in rows if (found := _recording(row, folder))]

    def find(self, asked: Asked) -> Answer | None:
        """The body that was recorded for this request."""
        for recording in self.recordings:
            if recording.answers(asked):
                value = asked.json() if recording.call else None
                return recording.answer(value.get("id") if isinstance(value, dict) else None)
        return None

    def by_file(self, name: str) -> Answer | None:
        """The body of one file of the manifest."""
        status = self._files.get(name)
        if status is None:
            return None
        return Recording("", "", "", {}, None, status, self._folder / name).answer()


def _status(text: str) -> int:
    return int(text) if text.isdecimal() else 200


def _recording(row: dict[str, str], folder: Path) -> Recording | None:
    match = _HEAD.match(row["request"])
    if match is None:
        return None
    method, url, rest = match.groups()
    split = urlsplit(url)
    host = split.netloc or _HOSTS.get(row["provider"], "")
    if split.path.startswith(_FUTURES):
        host = "fapi.binance.com"
    path = unquote(split.path) or "/"
    call = None
    if method == "POST":
        try:
            call = _call(orjson.loads(rest or ""))
        except orjson.JSONDecodeError:
            return None  # the manifest has it shortened
    return Recording(method, host, path, read(split.query), call, _status(row["status"]),
                     folder / row["file"])  # fmt: skip


def _call(value: Any) -> tuple[str, Any] | None:
    if not isinstance(value, dict):
        return None
    if "method" in value:
        return str(value["method"]), value.get("params", [])
    return "", value
