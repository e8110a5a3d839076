"""The formats of tables: their names and media types, and which one a request gets."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final


class Format(StrEnum):
    """The formats; the first one is sent when nothing is asked for."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self]

    @property
    def is_text(self) -> bool:
        """Whether HTTP's codings compress it; the others are compressed inside, with zstd."""
        return self in (Format.JSON, Format.NDJSON, Format.CSV)


# Of documents: those with an address of their own, /cache/<name>.<format>.
TABLES: Final = (Format.ARROW, Format.PARQUET, Format.CSV)
MEDIA_TYPES: Final = {
    Format.JSON: "application/json",
    Format.NDJSON: "application/x-ndjson",
    Format.CSV: "text/csv",
    Format.ARROW: "application/vnd.apache.arrow.stream",
    Format.PARQUET: "application/vnd.apache.parquet",
}
CONTENT_TYPES: Final = {
    name: (b"content-type", (media + "; charset=utf-8" * (name == "csv")).encode())
    for name, media in MEDIA_TYPES.items()
}
_QUOTED: Final = frozenset(',"\r\n')
_ALSO: Final = {
    "application/ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
    "application/x-parquet": Format.PARQUET,
}
_BY_TYPE: Final = {media: name for name, media in MEDIA_TYPES.items()} | _ALSO


def accepted_format(accept: str | None, among: Collection[Format] = tuple(Format)) -> Format | None:
    """The format for an Accept header (RFC 9110, 12.5.1); None if it allows none of `among`.

    Of formats with one quality the one named by the most specific range is sent, then the first.
    """
    if accept is None or not accept.strip():
        return Format.JSON
    best: tuple[float, int, int] | None = None
    found: Format | None = None
    refused = {
        name for range_, quality in _ranges(accept) if not quality for name in _matching(range_)
    }
    for range_, quality in _ranges(accept):
        if not quality:
            continue
        specific = 2 - range_.count("*")
        for place, name in enumerate(_matching(range_)):
            if name not in among or (name in refused and specific < 2):
                continue
            rank = (quality, specific, -place)
            if best is None or rank > best:
                best, found = rank, name
    return found


def _ranges(accept: str) -> list[tuple[str, float]]:
    """Each media range with its quality; those that cannot be read are left out."""
    found = []
    for element in accept.lower().split(","):
        range_, *parameters = (part.strip() for part in element.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = (part.strip() for part in parameter.partition("="))
            if name == "q":
                try:
                    quality = min(1.0, max(0.0, float(value)))
                except ValueError:
                    quality = -1.0
        if range_.count("/") == 1 and quality == quality and quality >= 0:
            found.append((range_, quality))
    return found


def _matching(range_: str) -> list[Format]:
    """The formats of a media range, the preferred one first."""
    kind, _, subtype = range_.partition("/")
    if subtype == "*":
        return [f for f in Format if kind in ("*", MEDIA_TYPES[f].partition("/")[0])]
    return [_BY_TYPE[range_]] if range_ in _BY_TYPE else []


def csv_field(text: str) -> str:
    """A field of CSV (RFC 4180)."""
    return '"' + text.replace('"', '""') + '"' if _QUOTED & set(text) else text
