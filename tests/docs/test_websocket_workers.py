"""The section on WebSocket workers of docs/workers.md: its worker and its reader run."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Final

from database import Database
from stores.hot.opening import open_hot_store
from tests.docs.blocks import ROOT, claim
from tests.fixtures.signals import until
from tests.workers.streams.hosting import hosting, put_row
from tests.workers.streams.source import Source, serving
from workers.declared import DECLARED
from workers.streams.options import StreamOptions
from workers.streams.published import read_published

PRICES: Final = claim("docs/workers.md", "# plugins/prices.py")
FOLLOW: Final = claim("docs/workers.md", "# follow_prices.py")


async def test_the_workers_publish_and_the_reader_reads(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    before = len(DECLARED)
    module = ModuleType("prices")
    exec(compile(PRICES.text, "prices.py", "exec"), module.__dict__)  # noqa: S102 - our own block
    declared = [one.definition for one in DECLARED[before:]]
    del DECLARED[before:]
    store, database = open_hot_store(redis_url, client_name="test"), Database(database_url)
    await database.open()
    async with serving(Source()) as source:
        definitions = []
        for definition in declared:
            assert definition is not None
            await put_row(database_url, definition.name)
            address = f"{source.url}/{definition.name}"
            definitions.append(replace(definition, url=address))
        async with hosting(store, database, *definitions):
            assert [json.loads(text) for text in await source.until_received(1)] == [
                {"op": "subscribe", "symbols": ["FPT", "VNM"]}
            ]
            await source.until_open(2)
            await source.tell('{"op":"subscribed"}')
            await source.tell('{"symbol":"FPT","price":131.2}')

            async def both() -> bool:
                prices = await read_published(store, "prices")
                lengths = await read_published(store, "lengths")
                return [len(prices.values), len(lengths.values)] == [1, 2]

            await until(both)
            lengths = (await read_published(store, "lengths")).values
            assert [value.value for value in lengths] == [19, 30]
    follow = FOLLOW.text.replace("redis://127.0.0.1:6379", redis_url).replace("5_000", "100")
    (tmp_path / "follow.py").write_text(follow)
    told = subprocess.run(  # noqa: ASYNC221 - nothing else runs
        [sys.executable, "follow.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert told.stdout == "{'symbol': 'FPT', 'price': 131.2}\n", told.stderr
    await store.aclose()
    await database.aclose()


def test_every_option_is_told_with_its_default() -> None:
    text = (ROOT / "docs" / "workers.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for option in fields(StreamOptions):
        (row,) = [row for row in rows if f"`{option.name}`" in row.split("|")[1]]
        default = option.default
        told = row.split("|")[2]
        if isinstance(default, int | float):
            mib = option.name == "largest_message"
            wanted = f"{default / 2**20:g} MiB" if mib else f"{default:g}"
            assert wanted in told, option.name
