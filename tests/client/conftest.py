"""Each test that asks for `kind` runs with Client and with AsyncClient."""

import pytest

from tests.client.clients import MAKERS


@pytest.fixture(params=list(MAKERS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
