"""Pages of a listing: what is read of them, and that anything else is refused in words."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from history.archive.download_errors import HostAway
from history.archive.listing import ListedObject, ListedPage, parse_page

# As Amazon S3's API reference has it, with a bucket's other fields.
PAGE = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>quotes</Name>'
    b"<Prefix>N</Prefix><Marker>Ned</Marker><NextMarker>b&amp;c</NextMarker><MaxKeys>40</MaxKeys>"
    b"<Delimiter>/</Delimiter><IsTruncated>true</IsTruncated>"
    b"<Contents><Key>Nelson</Key><LastModified>2006-01-01T12:00:00.000Z</LastModified>"
    b"<ETag>&quot;828ef3fdfa96f00ad9f27c383fc9ac7f&quot;</ETag><Size>5</Size>"
    b"<StorageClass>STANDARD</StorageClass><Owner><ID>bcaf161ca5fb16fd081034f</ID>"
    b"<DisplayName>webfile</DisplayName></Owner></Contents>"
    b"<Contents><Key>b&amp;c</Key><ETag>&quot;1-2&quot;</ETag><Size>0</Size></Contents>"
    b"<CommonPrefixes><Prefix>photos/</Prefix></CommonPrefixes></ListBucketResult>"
)


def test_a_page() -> None:
    assert parse_page(PAGE) == ListedPage(
        (
            ListedObject("Nelson", 5, '"828ef3fdfa96f00ad9f27c383fc9ac7f"'),
            ListedObject("b&c", 0, '"1-2"'),
        ),
        True,
    )
    last = parse_page(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
    assert last == ListedPage((), False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Binance Data Collection</body></html>",
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        PAGE[:-30],
        PAGE.replace(b"<Size>5</Size>", b""),
        PAGE.replace(b"<Size>5<", b"<Size>five<"),
        PAGE.replace(b"<Size>5<", b"<Size>-5<"),
        PAGE.replace(b"Nelson", b"N" * 3000),
        PAGE.replace(b"\n", b'\n<!DOCTYPE a [<!ENTITY b "ccccc">]>'),
        PAGE.replace(b"<Contents>", b"<Contents><Key>a</Key><Size>1</Size><ETag/></Contents>" * 1000
                     + b"<Contents>", 1),
    ],
)  # fmt: skip
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(HostAway, match=r"ARCHIVE_LISTING_URL|negative"):
        parse_page(body)


@given(st.binary(max_size=40), st.integers(0, len(PAGE)), st.integers(0, 40))
def test_damage_never_raises_another_error(put: bytes, at: int, cut: int) -> None:
    with contextlib.suppress(HostAway):
        parse_page(PAGE[:at] + put + PAGE[at + cut :])
