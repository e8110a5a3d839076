"""docs/facade.md: its call against the real API, and its paths against those that are answered."""

import re
import shlex
from typing import Final

from facade.exchanges import FACADES
from market.markets import LIVE_ADDRESSES
from tests.docs.blocks import ROOT, claim
from tests.fixtures.api import StartApi, get
from tests.fixtures.simulator import Simulator

DOCUMENT: Final = "docs/facade.md"
CALL: Final = claim(DOCUMENT, "/binance/fapi/v1/klines")
TEXT: Final = (ROOT / DOCUMENT).read_text(encoding="utf-8")


async def test_the_call_is_answered(
    start_api: StartApi, redis_url: str, simulator: Simulator
) -> None:
    (url,) = [word for word in shlex.split(CALL.text) if word.startswith("http://")]
    base = {f"{each}_base_url": simulator.base_url for each in FACADES}
    api = await start_api(redis_url=redis_url, facade="on", **base)
    path = url.removeprefix("http://127.0.0.1:8000")
    status, headers, body = await get(api, path)
    assert (status, headers["x-perpcache"]) == (200, "pass; age=0")
    assert body == simulator.full("GET", path.removeprefix("/binance"))[2]


def test_the_table_has_every_path_as_it_is() -> None:
    told = {}
    for line in re.findall(r"^\| (?:yes|no) .*$", TEXT, re.MULTILINE):
        cached, kept_s, paths = (cell.strip() for cell in line.strip("|").split("|"))
        for path in paths.split(", "):
            told[path.strip("`")] = cached == "yes", float(kept_s)
    assert told == {
        path: (row.answerer is not None, row.ttl_s)
        for facade in FACADES.values()
        for path, row in facade.paths.items()
    }


def test_the_addresses_are_those_of_the_exchanges() -> None:
    for exchange in FACADES:
        assert f"| `{LIVE_ADDRESSES[exchange]}` | `http://127.0.0.1:8000/{exchange}` |" in TEXT
