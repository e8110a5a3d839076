"""The private parts of uvicorn that ServingProtocol uses, and the version they were checked for."""

import inspect
import re
from pathlib import Path

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api.answers import Receive, Scope, Send
from api.connections.limits import ConnectionLimits
from api.connections.protocol import ServingProtocol
from metrics.api import ApiMetrics

ROOT = Path(__file__).resolve().parents[3]
# At another version: read uvicorn/protocols/http/httptools_impl.py again, then change this.
LOOKED_AT = "0.54.0"
# Overridden, and called by uvicorn, the parser or the transport.
OVERRIDDEN = {
    "__init__": ["self", "config", "server_state", "app_state", "_loop"],
    "connection_made": ["self", "transport"],
    "connection_lost": ["self", "exc"],
    "data_received": ["self", "data"],
    "on_message_begin": ["self"],
    "on_headers_complete": ["self"],
    "on_body": ["self", "body"],
    "on_message_complete": ["self"],
    "on_response_complete": ["self"],
    "pause_writing": ["self"],
    "resume_writing": ["self"],
    "timeout_keep_alive_handler": ["self"],
}
READ = (
    "transport", "flow", "loop", "parser", "scope", "url", "headers", "cycle", "pipeline",
    "server", "timeout_keep_alive_task",
)  # fmt: skip
OF_A_CYCLE = ("response_started", "response_complete", "disconnected", "message_event",
              "keep_alive", "body", "default_headers", "on_response",
              "waiting_for_100_continue")  # fmt: skip


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers nothing."""


def test_the_pinned_version_is_the_one_that_was_looked_at() -> None:
    pinned = re.search(r"^uvicorn==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert pinned is not None
    assert pinned[1] == uvicorn.__version__ == LOOKED_AT, "read its protocol again, see above"


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_methods_have_the_parameters_that_ours_have(name: str) -> None:
    for owner in (HttpToolsProtocol, ServingProtocol):
        assert name in vars(owner), f"{owner.__name__} has no {name} of its own"
        assert list(inspect.signature(vars(owner)[name]).parameters) == OVERRIDDEN[name]


async def test_attributes_are_where_they_are_looked_for() -> None:
    config = uvicorn.Config(nothing, ws="none", log_config=None)
    protocol = ServingProtocol(config, ConnectionLimits(1, ApiMetrics()), {})
    protocol.on_message_begin()
    assert [name for name in READ if not hasattr(protocol, name)] == []
    made_by = RequestResponseCycle.__init__.__code__.co_names
    assert [name for name in OF_A_CYCLE if name not in made_by] == []
    of_flow = FlowControl.__init__.__code__.co_names
    assert {"read_paused", "write_paused"} <= set(of_flow)
    assert list(inspect.signature(FlowControl.resume_reading).parameters) == ["self"]
    state = ServerState()
    assert (state.connections, state.default_headers) == (set(), [])


def test_no_private_name_of_uvicorn_is_used() -> None:
    private = {name for name in vars(HttpToolsProtocol) if re.match(r"_[a-z]", name)}
    private |= {name for name in vars(RequestResponseCycle) if re.match(r"_[a-z]", name)}
    sources = [path.read_text() for path in (ROOT / "api" / "connections").glob("*.py")]
    used = {name for name in private for text in sources if re.search(rf"\b{name}\b", text)}
    assert used == set()
    assert not any("uvicorn._" in text for text in sources)


async def test_a_server_without_limits_is_refused() -> None:
    config = uvicorn.Config(nothing, ws="none", log_config=None)
    with pytest.raises(TypeError, match="ConnectionLimits"):
        ServingProtocol(config, ServerState(), {})
