"""What is kept of answers is what came, digit by digit, and is of one question alone."""

from decimal import Decimal
from typing import Any, Final

from providers.answers import Known, kept_of, keys_of, known_of
from providers.questions import Question
from providers.records import Balance, NewsItem, Price, PriceKind, Record
from providers.resources import Level
from tests.providers.asking import prices

NOW_MS = 1_795_185_441_250
COMMON: Final[dict[str, Any]] = {
    "provider": "p",
    "resource": "r",
    "fetched_at_ms": NOW_MS,
    "as_of_ms": None,
}


def _known(*records: Record) -> Known:
    return Known(records, "chain/row", Level.LOW, NOW_MS, NOW_MS + 60_000, {"ETag": '"é"'})


def _kept(question: Question, record: Record) -> Known:
    [kept] = kept_of(question, {"it": _known(record)}, NOW_MS)
    assert [kept.key] == keys_of(question, ["it"])
    return known_of(["it"], [kept.text])["it"]


def test_prices_keep_their_digits() -> None:
    price = Price(
        **COMMON,
        asset="btc",
        quote="USD",
        kind=PriceKind.AGGREGATE,
        value=Decimal("60000.1200"),
        volume_24h_quote=Decimal("1E-30"),
        market_cap=Decimal("123456789012345678901234567890.123456789"),
    )
    found = _kept(prices("btc"), price)
    assert found == _known(price)
    [record] = found.records
    assert isinstance(record, Price)
    assert str(record.value) == "60000.1200" and str(record.volume_24h_quote) == "1E-30"


def test_integers_of_any_size_and_texts_of_any_language_come_back() -> None:
    balance = Balance(
        **COMMON,
        chain="ethereum",
        address="0x",
        asset="eth",
        decimals=18,
        block=None,
        raw=2**256 - 1,
        confirmed_only=True,
    )
    assert _kept(Question("balance.ethereum", ("0x",)), balance).records == (balance,)
    story = NewsItem(
        **COMMON,
        id="1",
        source="s",
        url="https://a",
        summary="\u0000\x7f",
        via=("r",),
        title="ビットコイン \u20bf 🚀 \u2028",
        published_at_ms=None,
    )
    assert _kept(Question("news", ("*",)), story).records == (story,)


def test_what_another_release_has_kept_is_read_or_left_out() -> None:
    fields = '"resource":"r","level":1,"fetched_at_ms":1,"fresh_until_ms":2,"marks":{"E":"\\u00e9"}'
    older = f'{{"records":[],{fields}}}'.encode()
    other = f'{{"records":[{{"type":"Weather"}}],{fields}}}'.encode()
    assert known_of("abcd", [older, other, b"\xff", None]) == {
        "a": Known((), "r", Level.CRITICAL, 1, 2, {"E": "é"})
    }
