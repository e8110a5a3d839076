"""The reader of most rows: JSON, read by the paths that the row names."""

from typing import Any, Final

from providers.exact import is_none, shown
from providers.paths import as_text, path_of
from providers.questions import Kind
from providers.readers.articles import articles_of
from providers.readers.asked import Asked
from providers.readers.rows import records_of
from providers.readers.values import balance_of, gas_of, price_of, sentiment_of, stats_of
from providers.records import Record

_MAKERS: Final[dict[Kind, Any]] = {
    Kind.PRICE: price_of,
    Kind.SENTIMENT: sentiment_of,
    Kind.GAS: gas_of,
    Kind.STATS: stats_of,
    Kind.BALANCE: balance_of,
}


def read_json(body: bytes, asked: Asked) -> list[Record]:
    return read_document(asked.document(body), asked)


def read_document(document: Any, asked: Asked) -> list[Record]:
    check_success(document, asked)
    if asked.question.kind is Kind.NEWS:
        return list(articles_of(document, asked))
    found: list[Record] = records_of(document, asked, _MAKERS[asked.question.kind])
    return found


def check_success(document: Any, asked: Asked) -> None:
    """Raises ProviderError where the envelope does not say what the row wants it to say."""
    for path, wanted in asked.read.get("success", {}).items():
        value = path_of(path).find(document)
        text = "" if is_none(value) else as_text(value)
        if text != wanted:
            raise asked.bad(f"{path} is {shown(value)}, not {wanted!r}")
