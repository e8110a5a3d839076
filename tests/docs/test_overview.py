"""What docs/overview.md tells to run, and that it names every figure."""

import asyncio
import contextlib
import io
from typing import Any, Final

from market.assets.prices import LARGEST_FACTOR
from tests.docs.blocks import ROOT, Block, claim
from tests.fixtures.api import ServedApi
from tests.fixtures.overviews import AS_OF, NOW, document_of, told

ONE: Final = claim("docs/overview.md", "/market/BTC")
POLLING: Final = claim("docs/overview.md", "If-None-Match")
MARKETS: Final = [
    told("binance", "BTC", price=100.0, interest=1000.0),
    told("bybit", "BTC", price=101.0, interest=1000.0),
    told("bybit", "ETH"),
]


async def run(api: ServedApi, block: Block) -> tuple[dict[str, Any], str]:
    """The names of the block when it has run, and what it printed."""
    names: dict[str, Any] = {}
    code = compile(block.text.replace(":8000", f":{api.port}"), block.document, "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        await asyncio.to_thread(exec, code, names)
    return names, printed.getvalue()


async def test_an_asset_is_read_in_one_request(native_api: ServedApi) -> None:
    await native_api.publish("overview", document_of(MARKETS), AS_OF)
    names, printed = await run(native_api, ONE)
    assert names["btc"]["open_interest"]["quote"] == 201_000.0
    lines = printed.splitlines()
    assert lines[0] == "201000.0 USDT on ['binance', 'bybit']"
    assert lines[1:3] == ["24h: 0.0", "funding a year: 0.1095"]
    assert len(lines) == 6


async def test_a_bot_gets_each_version_once(native_api: ServedApi) -> None:
    await native_api.publish("overview", document_of(MARKETS), AS_OF)
    polling = asyncio.create_task(run(native_api, POLLING))
    await native_api.held.until(1)  # the second request, which has the first version
    await native_api.publish("overview", document_of(MARKETS[:2], AS_OF + 1), AS_OF + 1)
    _, printed = await polling
    assert printed.splitlines() == [
        f"{NOW} {{'BTC': 0.0001, 'ETH': 0.0001}}",
        f"{NOW} {{'BTC': 0.0001}}",
    ]


def test_the_factor_is_the_one_of_the_code() -> None:
    text = (ROOT / "docs/overview.md").read_text(encoding="utf-8")
    assert f"factor of {LARGEST_FACTOR:g} from the weighted median" in text
