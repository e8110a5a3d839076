"""The overview as text: whatever names there are, its slices are what JSON says."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.overview import body_hash, body_of, overview_body, overview_document
from documents.overview_text import OverviewText
from documents.text import DocumentError, DocumentFilter
from market.assets.names import asset_of
from tests.fixtures.overviews import AS_OF, document_of, made, told

_NAMES = st.lists(
    st.text(st.sampled_from('AB1"\\[]{},:龙'), min_size=1, max_size=6).map(str.upper),
    unique=True,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(_NAMES, st.data())
def test_any_assets_are_cut_out_whole(bases: list[str], data: st.DataObject) -> None:
    document = document_of([told("binance", base, since_ms=AS_OF - 900_000) for base in bases])
    text, whole = OverviewText(document), orjson.loads(document)
    names = [each["asset"] for each in whole["assets"]]
    assert [span.symbol for span in text.markets] == names
    wanted = data.draw(st.sets(st.sampled_from(names))) if names else set()
    where = DocumentFilter(symbols=frozenset(wanted))
    parts = text.filtered(where)
    found = orjson.loads(b"".join(parts))
    assert found == whole | {"assets": [a for a in whole["assets"] if a["asset"] in wanted]}
    assert text.filtered_size(where).copied >= sum(map(len, parts))
    for asset in whole["assets"]:
        span = text.find(asset["asset"])
        assert span is not None
        told_of = orjson.loads(text.asset(span))
        assert told_of.pop("quote") == "USDT"
        assert told_of.items() >= asset.items()
        assert text.find(asset["markets"][0]["symbol"].lower()) == span
    assert text.assets() == whole["assets"] and text.missing() == []


def test_names_that_nobody_has_are_absent() -> None:
    text = OverviewText(document_of([told(base="1000PEPE"), told(base="BTC")]))
    assert text.absent(frozenset({"PEPE", "1000PEPEUSDT", "10000PEPE", "DOGE"})) == {"DOGE"}
    assert text.absent(None) == frozenset()
    assert text.find("P" * 65) is None
    assert asset_of.cache_info().maxsize is not None  # asked for by anybody


@pytest.mark.parametrize("text", [b"", b"{}", b'{"name":"overview","assets":[]', b'x,"assets":[]}'])
def test_another_text_is_refused(text: bytes) -> None:
    with pytest.raises(DocumentError):
        OverviewText(text)


def test_versions_that_tell_the_same_have_one_hash() -> None:
    def version(number: int, **changed: Any) -> bytes:
        body = overview_body(made([told(**changed)]), "USDT")
        return overview_document(body, version=number, as_of_ms=number, updated_at_ms=number)

    one, same, other = version(1), version(2), version(1, interest=101.0)
    assert one != same and body_hash(body_of(one)) == body_hash(body_of(same))
    assert body_hash(body_of(one)) != body_hash(body_of(other))
    with pytest.raises(DocumentError):
        body_of(b"{}")
