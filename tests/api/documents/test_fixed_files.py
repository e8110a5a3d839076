"""/cache/<name>/<version>.parquet: whole and by ranges, two versions, the same in every process."""

import hashlib
import subprocess
import sys

import orjson
import pytest

from tests.fixtures.api import ServedApi, StartApi, get
from tests.fixtures.documents import AS_OF_MS, document
from tests.fixtures.tables import rows_of, rows_of_json
from tests.test_house import ROOT

FIXED = f"/cache/4h/{AS_OF_MS}.parquet"


async def test_the_moving_address_names_the_fixed_one(native_published: ServedApi) -> None:
    api = native_published
    status, moving, body = await get(api, "/cache/4h.parquet", Range="bytes=0-3")
    assert (status, moving["content-location"]) == (200, f"4h/{AS_OF_MS}.parquet")
    assert "accept-ranges" not in moving
    status, fixed, same = await get(api, FIXED)
    assert (status, same, fixed["etag"]) == (200, body, moving["etag"])
    assert fixed["cache-control"] == "max-age=31536000, immutable"
    assert (fixed["accept-ranges"], "vary" in fixed) == ("bytes", False)
    assert rows_of("parquet", same) == rows_of_json(document())
    again = await get(api, FIXED, If_None_Match=fixed["etag"])
    assert (again[0], again[2]) == (304, b"")
    head = await get(api, FIXED, "HEAD", Range="bytes=0-3")
    assert (head[0], head[1]["content-length"], head[2]) == (200, str(len(body)), b"")
    assert "content-location" not in (await get(api, "/cache/4h.parquet?limit=1"))[1]


async def test_ranges(native_published: ServedApi) -> None:
    api = native_published
    _, headers, whole = await get(api, FIXED)
    size = len(whole)
    for asked, start, end in (
        ("bytes=0-3", 0, 4),
        ("bytes=4-4", 4, 5),
        ("bytes=100-", 100, size),
        ("bytes=-8", size - 8, size),
        (f"bytes=-{size * 9}", 0, size),
        (f"bytes=10-{size * 9}", 10, size),
        ("BYTES=1-2", 1, 3),
    ):
        status, got, body = await get(api, FIXED, Range=asked)
        assert (status, body) == (206, whole[start:end]), asked
        assert got["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert (got["content-length"], got["etag"]) == (str(end - start), headers["etag"])
    for asked in (f"bytes={size}-", "bytes=-0", f"bytes={size}-{size + 9}"):
        status, got, body = await get(api, FIXED, Range=asked)
        assert (status, got["content-range"]) == (416, f"bytes */{size}"), asked
        assert orjson.loads(body)["detail"] == f"the file has {size} bytes"
    # Malformed, of another unit, and several ranges: a server may ignore them.
    for asked in ("bytes=3-1", "bytes=a-b", "rows=0-1", "bytes=0-1,4-5", "bytes=", "bytes=-"):
        status, _, body = await get(api, FIXED, Range=asked)
        assert (status, body) == (200, whole), asked


async def test_if_range_lets_no_parts_of_two_files_mix(native_published: ServedApi) -> None:
    api = native_published
    _, headers, whole = await get(api, FIXED)
    same = await get(api, FIXED, Range="bytes=0-3", If_Range=headers["etag"])
    assert (same[0], same[2]) == (206, b"PAR1")
    for other in ('"another"', "W/" + headers["etag"], headers["last-modified"]):
        got = await get(api, FIXED, Range="bytes=0-3", If_Range=other)
        assert (got[0], got[2]) == (200, whole), other


async def test_two_versions_are_there(native_published: ServedApi) -> None:
    api = native_published
    _, first, whole = await get(api, FIXED)
    for step in (1, 2):
        version = AS_OF_MS + step
        await api.publish("4h", document(version, price=1.5 + step), version)
        _, newest, _ = await get(api, f"/cache/4h/{version}.parquet")
        assert newest["etag"] != first["etag"]
        status, headers, body = await get(api, FIXED, Range="bytes=0-")
        if step == 1:
            assert (status, body, headers["etag"]) == (206, whole, first["etag"])
    assert status == 404
    assert headers["cache-control"] == "no-cache"
    detail = orjson.loads(body)["detail"]
    assert f"/cache/4h/{AS_OF_MS + 1}.parquet" in detail
    assert f"/cache/4h/{AS_OF_MS + 2}.parquet" in detail


async def test_a_version_that_this_process_never_made_is_not_invented(
    native_published: ServedApi, start_api: StartApi, redis_url: str
) -> None:
    await native_published.publish("4h", document(AS_OF_MS + 1), AS_OF_MS + 1)
    other = await start_api(redis_url=redis_url)
    status, _, body = await get(other, FIXED)
    assert status == 404
    assert f"/cache/4h/{AS_OF_MS + 1}.parquet" in orjson.loads(body)["detail"]
    assert (await get(other, f"/cache/4h/{AS_OF_MS + 1}.parquet"))[0] == 200
    status, _, body = await get(other, FIXED + "?limit=1")
    assert (status, "There are no parameters here" in body.decode()) == (422, True)


async def test_two_processes_send_parts_of_one_file(
    native_published: ServedApi, start_api: StartApi, redis_url: str
) -> None:
    other = await start_api(redis_url=redis_url)
    _, head, front = await get(native_published, FIXED, Range="bytes=0-999")
    _, tail, back = await get(other, FIXED, Range="bytes=1000-")
    assert head["etag"] == tail["etag"]
    assert rows_of("parquet", front + back) == rows_of_json(document())


@pytest.mark.parametrize("format_", ["arrow", "parquet", "csv"])
def test_every_process_makes_the_same_bytes(format_: str) -> None:
    """Their hash tables begin at random, as those of the library do."""
    made = (
        "import hashlib; from api.documents.column_formats import write_table; "
        "from api.documents.content_coding import Coding; from api.formats import Format; "
        "from documents.text import DocumentText; from tests.fixtures.documents import document; "
        f"parts = write_table(Format('{format_}'), DocumentText(document()), Coding.IDENTITY); "
        "print(hashlib.sha256(b''.join(parts)).hexdigest())"
    )
    found = {
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", made], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(4)
    }
    assert len(found) == 1
    assert len(found.pop().strip()) == len(hashlib.sha256().hexdigest())
