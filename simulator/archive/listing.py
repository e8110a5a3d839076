"""Listings of the archive by prefix, page by page, in the form of Amazon S3 (ListObjects)."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from itertools import islice
from typing import Final
from xml.sax.saxutils import escape

from simulator.answers import Answer
from simulator.archive.names import (
    CHECKSUM,
    INTERVALS,
    KINDS_OF,
    KLINES,
    ROOT,
    ArchiveFile,
    files_of,
    folder_of,
)
from simulator.archive.objects import ArchiveObjects, StoredObject
from simulator.instants import iso
from simulator.parameters import whole_number

_MOST_KEYS: Final = 1000
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
# A period at the end of a name, whole or cut behind it.
_PERIOD: Final = re.compile(r"-(\d{4})-(\d\d)(?:-(\d\d))?(?:\.[.A-Z]*)?$", re.IGNORECASE | re.ASCII)
_XML: Final = "application/xml"

Entry = StoredObject | str  # an object, or a common prefix


def list_objects(objects: ArchiveObjects, query: Mapping[str, str]) -> Answer:
    """One page: the keys after `marker` that begin with `prefix`, ascending; with `delimiter=/`
    those of deeper folders as one common prefix each."""
    prefix, marker = query.get("prefix", ""), query.get("marker", "")
    delimiter = query.get("delimiter", "")
    asked = whole_number(query.get("max-keys", str(_MOST_KEYS)))
    if delimiter not in ("", "/") or asked is None:
        return refused(400, "InvalidArgument", "delimiter is / or absent, max-keys a number")
    most = min(asked, _MOST_KEYS)
    entries = _entries(objects, prefix, marker, grouped=bool(delimiter))
    page = list(islice(entries, most))
    more = next(entries, None) is not None and most > 0
    fields = [
        "<Name>data.binance.vision</Name>", _field("Prefix", prefix), _field("Marker", marker),
    ]  # fmt: skip
    if more and delimiter:  # without a delimiter the last key is the next marker
        fields.append(_field("NextMarker", _key_of(page[-1])))
    fields.append(f"<MaxKeys>{asked}</MaxKeys>")
    if delimiter:
        fields.append(_field("Delimiter", delimiter))
    fields.append(f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>")
    fields += [_contents(entry) for entry in page if isinstance(entry, StoredObject)]
    fields += [
        f"<CommonPrefixes>{_field('Prefix', entry)}</CommonPrefixes>"
        for entry in page
        if isinstance(entry, str)
    ]
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    body = f'{_HEAD}<ListBucketResult xmlns="{namespace}">{"".join(fields)}</ListBucketResult>'
    return Answer(200, body.encode(), _XML)


def refused(status: int, code: str, message: str) -> Answer:
    """An error in the form of S3."""
    text = f"{_HEAD}<Error>{_field('Code', code)}{_field('Message', message)}</Error>"
    return Answer(status, text.encode(), _XML)


def _entries(
    objects: ArchiveObjects, prefix: str, marker: str, *, grouped: bool
) -> Iterator[Entry]:
    """Objects and common prefixes after `marker`, ascending by name."""
    last_group = ""
    for folder in _folders(objects):
        if not (folder.startswith(prefix) or prefix.startswith(folder)):
            continue
        depth = folder.find("/", len(prefix)) if grouped else -1
        if depth >= 0:
            group = folder[: depth + 1]
            # A marker may be a group that was told, or a key in it.
            told = group == last_group or marker.startswith(group) or group < marker
            if not told and _has_any(objects, folder):
                last_group = group
                yield group
            continue
        if folder < marker and not marker.startswith(folder):
            continue
        for item in _objects_in(objects, folder, max(marker, prefix)):
            if item.key.startswith(prefix) and item.key > marker:
                yield item


def _folders(objects: ArchiveObjects) -> Iterator[str]:
    """The folders of all series, ascending."""
    for folder, kinds in KINDS_OF.items():
        for kind in kinds:
            for symbol in sorted(objects.markets):
                for interval in INTERVALS if kind == KLINES else ("",):
                    yield folder_of(folder, kind, symbol, interval)


def _objects_in(objects: ArchiveObjects, folder: str, after: str) -> Iterator[StoredObject]:
    """The objects of a series' folder, ascending; files before `after` are not made."""
    for file in _files_in(objects, folder, _day_in(after, folder)):
        if file.key + CHECKSUM > after:
            yield from objects.of_file(file)


def _has_any(objects: ArchiveObjects, folder: str) -> bool:
    return next(_files_in(objects, folder, date.min), None) is not None


def _files_in(objects: ArchiveObjects, folder: str, from_day: date) -> Iterator[ArchiveFile]:
    named, kind, symbol, *rest = folder.removeprefix(f"{ROOT}/").rstrip("/").split("/")
    interval = rest[0] if rest else ""
    listed_ms = objects.markets[symbol].candles.first_ms
    return files_of(named, kind, symbol, interval, listed_ms, objects.now_ms, from_day)


def _day_in(marker: str, folder: str) -> date:
    """A day before which no file of the folder is after this marker or prefix."""
    found = _PERIOD.search(marker) if marker.startswith(folder) else None
    if found is None:
        return date.min
    try:
        day = date(int(found[1]), int(found[2]), int(found[3] or 1))
    except ValueError:
        return date.min
    return day - timedelta(days=1)


def _contents(item: StoredObject) -> str:
    return (
        f"<Contents>{_field('Key', item.key)}"
        f"<LastModified>{iso(item.modified_ms).removesuffix('Z')}.000Z</LastModified>"
        f"{_field('ETag', item.etag)}<Size>{len(item.body)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def _key_of(entry: Entry) -> str:
    return entry if isinstance(entry, str) else entry.key


def _field(name: str, text: str) -> str:
    quoted = escape(text, {'"': "&quot;"})
    return f"<{name}>{quoted}</{name}>"
