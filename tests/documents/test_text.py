"""Cutting a document's text: which markets a query names."""

from documents.text import DocumentText, Query

TEXT = (
    b'{"timeframe":"4h","last_closed_open_time":0,"markets":['
    b'{"exchange":"binance","symbol":"kPEPE","rows":[]},'
    b'{"exchange":"binance","symbol":"BTCUSDT","rows":[]}],"missing":[]}'
)


def test_a_symbol_in_upper_case_names_a_market_in_any_case() -> None:
    cut = b"".join(DocumentText(TEXT).cut(Query(symbols=frozenset(["KPEPE"]))))
    assert b"kPEPE" in cut
    assert b"BTCUSDT" not in cut
