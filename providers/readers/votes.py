"""Reads what readers of news voted, as a reading of sentiment."""

from decimal import Decimal
from typing import Any

from providers.exact import BadValue, divided, time_ms, whole_of
from providers.readers.asked import Asked
from providers.records import Record, SentimentReading


def read_votes(body: bytes, asked: Asked) -> list[Record]:
    """CryptoPanic: {"results":[{"published_at","votes":{"positive":120,"negative":5}}]}: the share
    of positive votes over all posts. Without votes it is unknown, not 50."""
    document = asked.document(body)
    listed = document.get("results") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise asked.bad("there is no list of posts")
    positive = negative = 0
    newest_ms: int | None = None
    try:
        for post in listed:
            votes: Any = (post or {}).get("votes") or {}
            positive += whole_of(votes.get("positive")) or 0
            negative += whole_of(votes.get("negative")) or 0
            time = time_ms((post or {}).get("published_at"), "iso")
            newest_ms = max(filter(None, (newest_ms, time)), default=None)
    except (BadValue, AttributeError) as error:
        raise asked.bad(str(error)) from error
    if not positive + negative:
        raise asked.nothing()
    return [
        SentimentReading(
            **asked.common(newest_ms),
            metric=asked.resource.read["metric"],
            asset=asked.subjects[0],
            value=divided(Decimal(100 * positive), positive + negative),
            scale=(Decimal(0), Decimal(100)),
            label=None,
        )
    ]
