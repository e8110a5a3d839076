"""What docs/mcp.md says: its client starts the server, its tools are those that there are."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Final

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from main import build_parser
from tests.docs.blocks import ROOT, claim
from tests.mcp_tools.clients import error_of

_PAGE: Final = "docs/mcp.md"
_INSTALL: Final = claim(_PAGE, "requirements-mcp.txt")
_CLIENT: Final = claim(_PAGE, "mcpServers")
_HTTP: Final = claim(_PAGE, "mcp --http 8100")
_TOOL: Final = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


async def test_the_client_of_the_page_finds_the_tools_of_the_page(tmp_path: Path) -> None:
    server = json.loads(_CLIENT.text)["mcpServers"]["perpcache"]
    home = "/home/me/perpcache"
    assert server["command"] == f"{home}/.venv/bin/python"
    arguments = [each.replace(home, str(ROOT)) for each in server["args"]]
    arguments[-1] = "http://127.0.0.1:1"
    started = StdioServerParameters(command=sys.executable, args=arguments, cwd=tmp_path)
    async with Client(started) as client:
        found = [tool.name for tool in (await client.list_tools()).tools]
        assert "cannot be reached" in await error_of(client, "freshness")
    assert found == _TOOL.findall((ROOT / _PAGE).read_text(encoding="utf-8"))


def test_the_commands_of_the_page_are_those_that_there_are() -> None:
    _, _, *arguments = shlex.split(_HTTP.text)
    assert build_parser(arguments).parse_args(arguments).http == "8100"
    assert shlex.split(_INSTALL.text)[-1] == "requirements-mcp.txt"
    pinned = (ROOT / "requirements-mcp.txt").read_text(encoding="utf-8")
    assert re.search(r"^mcp==2\.\S+ \\$", pinned, re.MULTILINE)
