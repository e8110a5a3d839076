"""GET /ui: the page's files, how they are cached, and what browsers may do with them."""

import gzip
import hashlib
import re
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.fixtures.api import ServedApi, StartApi, get

FOLDER: Final = Path(__file__).resolve().parents[2] / "dashboard"
TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "vendor/preact.mjs": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "vendor/licences/NOTICE.txt": "text/plain; charset=utf-8",
}
UNPACK: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "": bytes,
}


def scripts() -> Iterator[Path]:
    for file in sorted(FOLDER.rglob("*.js")):
        if "vendor" not in file.parts:
            yield file


async def test_it_leads_to_the_page(native_api: ServedApi) -> None:
    for path, target in (("/ui", "ui/"), ("/", "ui/")):
        async with native_api.http.get(
            path, allow_redirects=False, headers={"Accept": "text/html,*/*"}
        ) as answer:
            assert (answer.status, answer.headers["Location"]) == (307, target)
    status, headers, body = await get(native_api, "/ui/")
    assert (status, body) == (200, (FOLDER / "index.html").read_bytes())
    assert headers["content-type"] == TYPES["index.html"]


@pytest.mark.parametrize("path", TYPES)
async def test_a_file_is_sent_as_it_is_in_every_coding(native_api: ServedApi, path: str) -> None:
    content = (FOLDER / path).read_bytes()
    for coding, unpack in UNPACK.items():
        status, headers, body = await get(native_api, f"/ui/{path}", Accept_Encoding=coding)
        assert (status, unpack(body)) == (200, content)
        assert headers.get("content-encoding", "") == coding
        assert headers["content-type"] == TYPES[path]
        assert (headers["vary"], headers["cache-control"]) == ("Accept-Encoding", "no-cache")
        tag = headers["etag"]
        again, headers, body = await get(native_api, f"/ui/{path}", If_None_Match=tag)
        assert (again, body) == (304, b"")
        assert "etag" in headers and "content-security-policy" in headers
        head, headers, body = await get(native_api, f"/ui/{path}", "HEAD", Accept_Encoding=coding)
        assert (head, headers["etag"], body) == (200, tag, b"")
    status, _, _ = await get(native_api, f"/ui/{path}", If_None_Match='"other-gzip"')
    assert status == 200


async def test_browsers_run_and_load_nothing_of_others(native_api: ServedApi) -> None:
    _, headers, body = await get(native_api, "/ui/")
    policy = dict(
        (name, values)
        for name, *values in map(str.split, headers["content-security-policy"].split(";"))
    )
    inline = re.findall(r'<script type="importmap">(.*?)</script>', body.decode(), re.DOTALL)
    digests = [b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in inline]
    assert policy == {
        "default-src": ["'none'"],
        "script-src": ["'self'", f"'sha256-{digests[0]}'"],
        "style-src": ["'self'"],
        "connect-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    assert len(inline) == 1 and body.count(b"<script") == 3
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        *("vendor.toml", "nothing.js", "lib", "lib/", "/", "index.html/", "../api_routes.py"),
        *("..%2fapi_routes.py", "lib/../../config.py", "%2e%2e/config.py", "vendor/..%5cx", "%00"),
    ],
)
async def test_other_files_are_not_there(native_api: ServedApi, path: str) -> None:
    status, _, body = await native_api.raw(
        f"GET /ui/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    )
    assert (status, b"import" in body) == (404, False)


async def test_the_page_needs_no_token_and_takes_no_post(
    start_api: StartApi, redis_url: str
) -> None:
    api = await start_api(redis_url=redis_url, read_token="reads", api_token="changes")
    for path in ("/ui", "/ui/", "/ui/app.js"):
        async with api.http.get(path) as answer:
            assert answer.status == 200
    status, headers, _ = await get(api, "/ui/app.js", "POST", Authorization="Bearer changes")
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert (await get(api, "/status"))[0] == 401


def test_what_the_scripts_import_is_there() -> None:
    """An import of a file that is not there would be seen only by who opens that view."""
    mapped = set(re.findall(r'"([^"]+)": "\./', (FOLDER / "index.html").read_text("utf-8")))
    for file in scripts():
        text = file.read_text("utf-8")
        for name in re.findall(r'(?:\bfrom |\bimport\()"([^"\n]+)"', text):
            if name not in mapped:
                assert (file.parent / name).resolve().is_file(), f"{file}: {name}"
    page = (FOLDER / "index.html").read_text("utf-8")
    named = re.findall(r'(?:src|href)="([^".][^"]*)"', page) + re.findall(r'": "\./([^"]+)"', page)
    assert len(named) > 10
    assert [name for name in named if not (FOLDER / name).is_file()] == []


def test_scripts_are_short_and_say_what_they_own() -> None:
    for file in scripts():
        lines = file.read_text("utf-8").splitlines()
        assert len(lines) <= 500, f"{file}: {len(lines)} lines: split it by noun"
        assert lines[0].startswith(("// ", "/** ")), f"{file} opens with what it owns"
