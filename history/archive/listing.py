"""Pages of an S3 listing: the objects that the archive says it has, with sizes and ETags.

<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>true</IsTruncated>
<NextMarker>data/a.zip</NextMarker><Contents><Key>data/a.zip</Key><ETag>&quot;9e2...&quot;</ETag>
<Size>11784</Size></Contents></ListBucketResult>
(Amazon S3 API reference, ListObjects)
"""

from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from history.archive.download_errors import HostAway

MOST_KEYS: Final = 1000  # of one page
_NO_LISTING: Final = "it answers no listing of a bucket: set ARCHIVE_LISTING_URL"
_FIELDS: Final = frozenset(("Key", "ETag", "Size"))
_MOST_TEXT: Final = 2048  # of one field; a key has at most 1024 bytes


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object: its key, its size in bytes, and its ETag as it is written in a header."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class ListedPage:
    """The objects of a page, ascending by key, and whether there are more behind its last one."""

    objects: tuple[ListedObject, ...]
    more: bool


def parse_page(body: bytes) -> ListedPage:
    """Raises HostAway for anything else than one page of a listing."""
    parser = _Page()
    try:
        parser.feed(body)
        objects = tuple(
            ListedObject(fields["Key"], int(fields["Size"]), fields["ETag"])
            for fields in parser.contents
        )
    except (expat.ExpatError, KeyError, ValueError) as error:
        raise HostAway(f"{_NO_LISTING} ({type(error).__name__})") from None
    if parser.root != "ListBucketResult" or len(objects) > MOST_KEYS:
        raise HostAway(_NO_LISTING)
    if any(item.size < 0 for item in objects):
        raise HostAway("its listing has a negative size")
    return ListedPage(objects, parser.more == "true")


class _Page:
    """A page while it is read; entities and documents with a type are refused."""

    def __init__(self) -> None:
        self.root = ""
        self.more = ""
        self.contents: list[dict[str, str]] = []
        self._path: list[str] = []
        self._text = ""
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, body: bytes) -> None:
        self._parser.Parse(body, True)

    def _refuse(self, *_: object) -> None:
        raise ValueError("a document type")

    def _start(self, name: str, _: object) -> None:
        element = name.rpartition(" ")[2]
        self._path.append(element)
        self._text = ""
        if len(self._path) == 1:
            self.root = element
        elif self._path[1:] == ["Contents"]:
            self.contents.append({})

    def _characters(self, text: str) -> None:
        self._text += text
        if len(self._text) > _MOST_TEXT:
            raise ValueError("a field that is too long")

    def _end(self, _: str) -> None:
        path = self._path[1:]
        if path == ["IsTruncated"]:
            self.more = self._text
        elif len(path) == 2 and path[0] == "Contents" and path[1] in _FIELDS:
            self.contents[-1][path[1]] = self._text
        self._path.pop()
        self._text = ""
