"""OKX's bodies look as the recorded ones do: keys, their order where it was recorded, texts."""

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.fixtures.simulator import Simulator
from tests.simulator.okx.rest import candles, data

SWAP = "BTC-USDT-SWAP"


def _load(folder: Path, name: str) -> Any:
    path = folder / "streams/okx" / name
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def test_candles(okx: Simulator, recorded_data: Path) -> None:
    for name, symbol, bar in (
        ("rest_candles_5m_BTC-USDT-SWAP_2026-09-23.json", SWAP, "5m"),
        ("rest_candles_1H_BTC-USDT_2024-01-30.json", "BTC-USDT", "1H"),
    ):
        recorded = _load(recorded_data, name)["data"]
        found = candles(okx, symbol, bar, limit=len(recorded))
        assert [len(row) for row in found] == [len(row) for row in recorded]
        for rows in (found, recorded):
            steps = {int(one[0]) - int(two[0]) for one, two in pairwise(rows)}
            assert steps == {300_000 if bar == "5m" else 3_600_000}
            for row in rows[1:]:
                assert row[8] == "1"
                assert not [text for text in row if "." in text and text.endswith("0")]
                assert (row[6] == row[7]) == (symbol == "BTC-USDT")


def test_instruments(okx: Simulator, recorded_data: Path) -> None:
    (found,) = data(okx, "public/instruments", instType="SWAP", instId=SWAP)
    documented = _load(recorded_data, "doc_http_get_instruments_swap.json")["data"][1]
    old = _load(recorded_data, "rest_instruments_SWAP_2022-05-13.json.gz")["data"]
    recorded = next(row for row in old if row["instId"] == SWAP)
    for sample in (documented, recorded):
        missing = set(sample) - set(found) - {
            "maxPlatOILmt", "posLmtAmt", "posLmtPct", "tradeQuoteCcyList"
        }  # fmt: skip
        assert not missing
        for name in set(sample) & set(found):
            assert type(found[name]) is type(sample[name]), name
    for name in ("ctVal", "ctMult", "ctType", "ctValCcy", "settleCcy", "uly", "state", "tickSz"):
        assert found[name] == recorded[name]


def test_open_interest_and_funding(okx: Simulator, recorded_data: Path) -> None:
    recorded = _load(recorded_data, "rest_open-interest_BTC-USDT-SWAP_2024-10-12.json")["data"]
    found = data(okx, "public/open-interest", instType="SWAP", instId=SWAP)
    assert [list(row) for row in found] == [list(row) for row in recorded]
    line = _load(recorded_data, "funding-rate_BTC-USDT-SWAP_2026-09-25.jsonl")
    found = data(okx, "public/funding-rate", instId=SWAP)
    assert list(found[0]) == list(line["data"][0])
    history = data(okx, "public/funding-rate-history", instId=SWAP, limit=1)
    documented = _load(recorded_data, "doc_http_get_funding_rate_history.json")["data"]
    assert set(history[0]) >= set(documented[0])


def test_tickers(okx: Simulator, recorded_data: Path) -> None:
    text = (recorded_data / "streams/okx/tickers_BTC-USDT_2026-09-25.jsonl").read_text()
    recorded = json.loads(text.splitlines()[1])["data"][0]
    found = data(okx, "market/tickers", instType="SPOT")
    assert list(found[0]) == list(recorded)
