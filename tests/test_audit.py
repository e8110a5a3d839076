"""Known holes fail `make check`, no network does not: on a server that speaks OSV's API."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import audit

ROOT = Path(__file__).resolve().parents[1]
# As api.osv.dev answers, cut to what matters: https://google.github.io/osv.dev/post-v1-query/
HOLE: dict[str, Any] = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "schema_version": "1.7.0",
    "summary": "it leaks",
    "affected": [
        {
            "package": {"name": "orjson", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.9.15"}]}],
        }
    ],
}


class Osv(BaseHTTPRequestHandler):
    """Knows one hole, of orjson 3.9.0."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = (asked["package"]["name"], asked["version"]) == ("orjson", "3.9.0")
        body = json.dumps({"vulns": [HOLE]} if known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


def pinned(folder: Path, *versions: str) -> str:
    file = folder / "requirements.txt"
    lines = [f"{version} --hash=sha256:{'0' * 64}\n" for version in versions]
    file.write_text("".join(lines))
    return str(file)


def test_a_known_hole_fails(osv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(["--osv-url", osv, pinned(tmp_path, "orjson==3.9.0", "redis==5.0.0")]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "audit: known hole: orjson 3.9.0: GHSA-aaaa-bbbb-cccc, fixed in 3.9.15",
        "audit: 2 packages, 1 known holes",
    ]


def test_none_known(osv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(["--osv-url", osv, pinned(tmp_path, "orjson==3.9.15")]) == 0
    assert capsys.readouterr().out == "audit: 1 packages, 0 known holes\n"


def test_what_is_not_pinned_is_no_success(osv: str, tmp_path: Path) -> None:
    (tmp_path / "loose.txt").write_text("orjson\n")
    assert audit.main(["--osv-url", osv, str(tmp_path / "loose.txt")]) == 1


def test_without_network_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = "http://127.0.0.1:1/v1/query"
    assert audit.main(["--osv-url", nowhere, pinned(tmp_path, "orjson==3.9.0")]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("audit: SKIPPED")


def test_what_runs_is_pinned_with_hashes_and_audited() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert name in recipe
        pins = (ROOT / name).read_text().split("\n")
        starts = [at for at, line in enumerate(pins) if line[:1].isalnum()]
        assert len(starts) > 20
        for at in starts:
            assert "==" in pins[at] and "--hash=sha256:" in pins[at + 1], pins[at]
