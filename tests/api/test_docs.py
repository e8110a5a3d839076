"""GET /docs: served from local files, with small examples."""

import re

from tests.fixtures.api import ServedApi, ask


async def test_docs_come_from_this_machine(native_api: ServedApi) -> None:
    status, headers, page = await ask(native_api, "GET", "/docs")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    loads = re.findall(r'(?:src|href)="([^"]+)"', page.decode())
    assert not [address for address in loads if "//" in address]
    files = [address for address in loads if not address.startswith("data:")]
    assert len(files) == 3
    for address in files:
        status, headers, content = await ask(native_api, "GET", f"/{address}")
        assert (status, bool(content)) == (200, True)
        assert headers["content-type"].split(";")[0] in ("text/css", "text/javascript")
