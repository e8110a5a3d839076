"""The parts of the documents that are made from something else; run as a program, it renews them.

`python -m tests.docs.generated` writes them anew; test_generated.py holds that nobody forgot to.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.capacity import Capacity
from benchmarks.report import number
from benchmarks.saved import Saved
from tests.docs import http_reference, provider_tables, settings_table
from tests.docs.blocks import ROOT
from tests.test_house import LEVELS

# The rows of the README, by what they measure, and what they are called there.
_FIVE: Final = {
    "GET deflate, 1000 x 499": "reading a document of 1000 markets x 499 candles (27 MB)",
    "GET 304": "asking for it when there is nothing new (304)",
    "GET ?symbol= of one market": "reading one market of it",
    "GET full, large document": "the same document, against a simple handler",
    "CPU of a cold collection, per market": "collecting: CPU for each market",
}
_SCALE: Final = ("answers", "readers", "service", "addresses", "further", "steps", "check")
_BESIDE: Final = ("simulator", "benchmarks", "chaos", "mutants")
_WIDTH: Final = 36
_EXAMPLES: Final = {
    "examples": "Alone",
    "collectors": "Collectors in your own program",
    "workers": "Workers to copy to `plugins`",
}


def first_sentence(file: Path) -> str:
    """What a module says it owns, without the full stop."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].rstrip(".")


def house_map() -> str:
    """Every module with its opening sentence, room by room."""
    lines: list[str] = []
    for room in sorted(LEVELS, key=lambda room: -LEVELS[room]):
        if (ROOT / room).is_dir():
            lines += _room(ROOT / room)
        else:
            lines.append(_line(0, ROOT / f"{room}.py"))
    lines += [_line(0, ROOT / room / "__init__.py") for room in _BESIDE]
    return "```text\n" + "\n".join(lines) + "\n```"


def _room(folder: Path, depth: int = 0) -> Iterator[str]:
    yield _line(depth, folder / "__init__.py")
    for entry in sorted(folder.iterdir()):
        if (entry / "__init__.py").is_file():
            yield from _room(entry, depth + 1)
        elif entry.suffix == ".py" and entry.name != "__init__.py":
            yield _line(depth + 1, entry)


def _line(depth: int, file: Path) -> str:
    name = f"{file.parent.name}/" if file.name == "__init__.py" else file.name
    return f"{'  ' * depth + name:<{_WIDTH}}{first_sentence(file)}".rstrip()


def examples_page() -> str:
    """Every example with its opening sentence."""
    folder = ROOT / "docs" / "examples"
    lines = [
        "# Examples",
        "",
        "Programs to run and to copy, which tests run, too. `python -m tests.docs.generated` makes"
        " this list.",
    ]
    for place in (folder, folder / "collectors", folder / "workers"):
        title = _EXAMPLES[place.name]
        lines += ["", f"## {title}", "", "| file | what it shows |", "|---|---|"]
        for file in sorted(place.glob("*.py")):
            path = file.relative_to(folder)
            lines.append(f"| [{file.name}]({path}) | {_first_paragraph(file)} |")
    return "\n".join(lines) + "\n"


def _first_paragraph(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).rstrip(".").replace("|", "\\|")


def benchmark_lines() -> str:
    """Five rows of the saved results, as the README shows them."""
    rows = {row.what: row for row in Saved().rows()}
    head = "| what | ours | compared with | ratio |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| {name} | {number(row.ours)} {row.unit} "
        f"| {row.against}: {number(row.other or 0.0)} {row.unit} | {number(row.value)} |"
        for name, row in ((name, rows[what]) for what, name in _FIVE.items())
    )


def benchmark_tables() -> str:
    """All rows of the saved results."""
    return Saved().as_markdown()


def scale_table(name: str) -> Callable[[], str]:
    """A table of the capacity model."""
    return lambda: getattr(Capacity(Saved()), name)()


# Document, name of the part, what makes it.
PARTS: Final[tuple[tuple[str, str, Callable[[], str]], ...]] = (
    ("CONTRIBUTING.md", "map", house_map),
    ("README.md", "benchmarks", benchmark_lines),
    ("docs/benchmarks.md", "tables", benchmark_tables),
    *(("docs/scale.md", name, scale_table(name)) for name in _SCALE),
    ("docs/providers.md", "chains", provider_tables.chain_rows),
    ("docs/providers.md", "keys", provider_tables.key_rows),
)

# Document, and what makes the whole of it anew, of its text.
PAGES: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("docs/examples/README.md", lambda _: examples_page()),
    ("docs/http.md", lambda _: http_reference.page()),
    ("docs/settings.md", settings_table.renewed),
)


def renewed(document: str, name: str, make: Callable[[], str]) -> str:
    """The whole document with that part made anew."""
    text = (ROOT / document).read_text(encoding="utf-8")
    begin, end = (
        f"<!-- {name}: made by python -m tests.docs.generated -->",
        f"<!-- end of {name} -->",
    )
    assert text.count(begin) == text.count(end) == 1, f"{document} has no place for {name}"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n\n{make()}\n\n{end}", text)


def main() -> None:
    for document, make_page in PAGES:
        file = ROOT / document
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        file.write_text(make_page(text), encoding="utf-8")
        sys.stdout.write(f"{document}\n")
    for document, name, make in PARTS:
        (ROOT / document).write_text(renewed(document, name, make), encoding="utf-8")
        sys.stdout.write(f"{document}: {name}\n")


if __name__ == "__main__":
    main()
