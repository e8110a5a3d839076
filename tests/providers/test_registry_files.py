"""Registry files: on which line each table and key stands, and what cannot be read."""

import os
from pathlib import Path

import pytest

from providers.registry_files import LARGEST_BYTES, RegistryError, lines_of, read_registry_file

TEXT = """\
# a comment
[providers.me]
name = "Me"
limits = [
    [1, 2],
    [3, 4],
]

[[resources]]
id = "price.spot/me"
read.id = "x"

[[resources]]  # the second
id = "news/me"
[resources.read]
"a.b" = 1
[[resources.errors]]
class = "ok"
[[resources.errors]]
class = "transient"

[[resources]]
id = "third"
  [resources.read]
  items = "[*]"
"""


@pytest.mark.parametrize(
    ("where", "line"),
    [
        (("providers", "me"), 2),
        (("providers", "me", "limits"), 4),
        (("resources", 0), 9),
        (("resources", 0, "id"), 10),
        (("resources", 0, "read"), 11),
        (("resources", 1), 13),
        (("resources", 1, "read", "a.b"), 16),
        (("resources", 1, "errors", 0, "class"), 18),
        (("resources", 1, "errors", 1, "class"), 20),
        (("resources", 2, "read", "items"), 25),
    ],
)
def test_lines(where: tuple[str | int, ...], line: int) -> None:
    assert lines_of(TEXT)[where] == line


def test_a_place_is_told_by_the_nearest_table_around_it(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(TEXT)
    file = read_registry_file(path)
    assert file.at("resources", 1, "url") == f"{path}:13"
    assert file.at("resources", 1, "read", "nothing") == f"{path}:15"
    assert file.at("nothing") == str(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[a", "is not TOML: Expected ']' at the end of a table declaration"),
        (b"a = 1\na = 2\n", "is not TOML: Cannot overwrite a value (at line 2"),
        (b"\xff\xfe", "cannot be read: it is not UTF-8"),
        (b"#" * (LARGEST_BYTES + 1), f"is larger than {LARGEST_BYTES} bytes"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(RegistryError) as caught:
        read_registry_file(path)
    assert caught.value.lines[0].startswith(f"{path}: {reason}")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="No such file"):
        read_registry_file(tmp_path / "none.toml")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(RegistryError, match="is no regular file"):
        read_registry_file(pipe)
