"""DATA_DIRs for embedded stores, of which nothing is left."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stores.embedded.stores import (
    remove_embedded_data,
)
from tests.fixtures.postgres import quick_folder
from tests.stores.embedded.users import User, servers


@pytest.fixture
def make_data_dir() -> Iterator[Callable[..., Path]]:
    """Makes DATA_DIRs below a folder for all, and sees to it that nothing is left of them."""
    with tempfile.TemporaryDirectory(prefix="pc-stores-", dir=quick_folder()) as name:
        root = Path(name)
        root.chmod(0o711)
        made: list[Path] = []

        def make(path: str = "data", parent_mode: int = 0o755) -> Path:
            data_dir = root / path
            data_dir.mkdir(parents=True)
            if data_dir.parent != root:
                data_dir.parent.chmod(parent_mode)
            made.append(data_dir)
            return data_dir

        yield make
        for user in set(User.running):
            user.kill()
        for data_dir in made:
            left = servers(data_dir)
            remove_embedded_data(data_dir)
            assert not left, "servers were left running"


@pytest.fixture
def data_dir(make_data_dir: Callable[..., Path]) -> Path:
    return make_data_dir()
