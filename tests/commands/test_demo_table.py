"""The demo's table of providers: on 80 columns no source's name and no age is cut."""

import io

from rich.console import Console

from commands.demo_providers import headline, table_of_answers
from config import load_settings
from providers.registry import load


def test_every_source_is_named_whole_on_eighty_columns() -> None:
    names = sorted({each.provider.id for each in load(load_settings()).resources})
    assert "rss_bitcoinmagazine" in names
    table = table_of_answers()
    table.add_row("gas of ethereum", "0.000 gwei", names[0], "0 s")
    for name in names:
        table.add_row("news 1", headline("Stellar (XLM) holds 1.1% " * 9), name, "119 min")
    printed = io.StringIO()
    Console(file=printed, width=80).print(table)
    lines = printed.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for name in names:
        assert any(f" {name} " in line and line.rstrip().endswith(" 119 min") for line in lines)
