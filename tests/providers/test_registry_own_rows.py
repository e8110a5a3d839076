"""The operator's file: rows and nodes of its own, changes of ours, and mistakes told by line."""

from pathlib import Path

import pytest

from config import load_settings
from providers.registry import Registry, load
from providers.registry_files import RegistryError
from providers.resources import KeyPlace, Level, Limit, State


def loaded(tmp_path: Path, text: str) -> Registry:
    path = tmp_path / "own.toml"
    path.write_text(text)
    return load(load_settings(providers=str(path)))


ROW = """\
[[resources]]
id = "price.aggregate/mine"
level = "critical"
url = "https://prices.example/v1"
query = { ids = "{ids}" }
batch = 20
read = { id = "{coingecko}", value = "{id}.usd" }
"""


def test_a_source_of_ones_own(tmp_path: Path) -> None:
    registry = loaded(tmp_path, ROW)
    found = registry.resource("price.aggregate/mine")
    assert found in registry.chain("price.aggregate")
    assert (found.provider.id, found.provider.limits) == ("mine", ())
    assert (found.level, found.state, found.reader) == (Level.CRITICAL, State.ALIVE, "json")
    assert (found.key, found.private, found.ttl_s) == (None, True, 30.0)


def test_a_source_with_a_key_and_limits(tmp_path: Path) -> None:
    registry = loaded(
        tmp_path,
        """\
[providers.mine]
name = "Mine"
limits = [[5, 1], [1000, 86400]]
key = { place = "header", name = "X-Key" }
"""
        + ROW,
    )
    found = registry.resource("price.aggregate/mine")
    assert found.provider.limits == (Limit(5, 1), Limit(1000, 86400))
    assert found.key is not None
    assert (found.key.variable, found.key.place) == ("MINE_API_KEY", KeyPlace.HEADER)
    assert found.needs_key


def test_rows_of_ours_change_key_by_key(tmp_path: Path) -> None:
    plain = load(load_settings())
    registry = loaded(
        tmp_path,
        """\
[levels.critical]
total_s = 2.5

[providers.coingecko]
limits = [[100, 60]]

[[resources]]
id = "price.aggregate/coingecko"
ttl_s = 90

[[resources]]
id = "gas.ethereum/owlracle"
state = "alive"
""",
    )
    times = registry.levels[Level.CRITICAL]
    assert (times.total_s, times.connect_s) == (2.5, 2.0)
    found = registry.resource("price.aggregate/coingecko")
    assert found.ttl_s == 90
    assert found.provider.limits == (Limit(100, 60),)
    before = plain.resource("price.aggregate/coingecko")
    assert (found.url, found.read, found.key) == (before.url, before.read, before.key)
    assert not found.private
    assert registry.resource("gas.ethereum/owlracle").state is State.ALIVE
    assert len(registry.resources) == len(plain.resources)


def test_a_node_is_a_line(tmp_path: Path) -> None:
    registry = loaded(
        tmp_path,
        """\
[rpc]
ethereum = ["http://127.0.0.1:8545", "https://eth.drpc.org"]
sonic = ["https://sonic.drpc.org"]
[rpc.base]
low = ["https://base.example/rpc", "https://base.example/second"]
""",
    )
    mine = registry.resource("rpc.ethereum/127.0.0.1")
    assert mine in registry.chain("rpc.ethereum")
    assert (mine.level, mine.method, mine.reader) == (Level.CRITICAL, "POST", "jsonrpc")
    assert mine.private
    assert mine.provider.limits
    ours = registry.resource("rpc.ethereum/eth.drpc.org")  # the one that is known already
    assert ours.provider is registry.providers["drpc"]
    assert registry.chain("rpc.sonic")[0].provider is registry.providers["drpc"]
    two = [each for each in registry.chain("rpc.base") if "base.example" in each.url]
    assert [each.id for each in two] == ["rpc.base/base.example", "rpc.base/base.example:2"]
    assert {each.level for each in two} == {Level.LOW}
    assert two[0].provider is two[1].provider


def test_a_node_of_a_vendor_takes_its_key(tmp_path: Path) -> None:
    registry = loaded(tmp_path, '[rpc]\nethereum = ["https://mainnet.infura.io/v3/{key}"]\n')
    found = registry.resource("rpc.ethereum/mainnet.infura.io")
    assert found.key is not None
    assert found.key.variable == "INFURA_API_KEY"


ID = 'id = "price.aggregate/mine"\n'
REST = (
    'level = "low"\nurl = "https://h.example/?of={id}"\nread = { id = "{symbol}", value = "a" }\n'
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[provider.x]\n", "1: provider is unknown; there are levels, providers, resources, rpc"),
        ("[resources]\nid = 1\n", "1: write resources as [[resources]]"),
        ("providers = 1\n", "1: write providers as [providers.<id>]"),
        ("[[resources]]\nlevel = 'low'\n", "1: a resource without an id"),
        (f"[[resources]]\n{ID}{REST}" * 2, "7: price.aggregate/mine is at {path}:1 already"),
        (f"[[resources]]\n{ID}{REST}cost = 3\n", "6: price.aggregate/mine: cost: is unknown"),
        (f"[[resources]]\n{ID}", "1: price.aggregate/mine: level: is missing"),
        (f"[[resources]]\n{ID}{REST}batch = '3'\n", "6: price.aggregate/mine: batch: Input should"),
        (f"[[resources]]\n{ID}{REST}batch = 0\n", "6: price.aggregate/mine: batch: Input should"),
        (f"[[resources]]\n{ID}{REST}ttl_s = nan\n", "6: price.aggregate/mine: ttl_s: Input should"),
        (
            f"[[resources]]\n{ID}{REST}since = 'now'\n",
            "6: price.aggregate/mine: since: 'now' is no",
        ),
        (f"[[resources]]\n{ID}{REST}state = 'x'\n", "6: price.aggregate/mine: state: Input should"),
        (
            f"[[resources]]\n{ID}{REST}state = 'off'\n",
            "6: price.aggregate/mine: state: off needs a",
        ),
        (
            f"[[resources]]\n{ID}{REST}reader = 'x'\n",
            "6: price.aggregate/mine: reader: x is unknown",
        ),
        (
            f"[[resources]]\n{ID}{REST}via = 'rpc.bsc'\n",
            "4: price.aggregate/mine: url: give either",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("https:", "ftp:"),
            "4: price.aggregate/mine: url: 'ftp://h.example/?of={id}' is no URL",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("h.example", "{id}.example"),
            "4: price.aggregate/mine: url: the host of a URL has neither placeholders nor a user",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("h.example", "me:secret@h.example"),
            "4: price.aggregate/mine: url: the host of a URL has neither",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("example/", "example/{key}"),
            "4: price.aggregate/mine: url: has {key}, and its provider has no key",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("price.aggregate", "price.agregate"),
            "2: price.agregate/mine: id: there is no chain price.agregate; there are balance.bit",
        ),
        (f"[[resources]]\n{ID}{REST}".replace("mine", "My One"), "2: price.aggregate/My One: id:"),
        (
            f"[[resources]]\n{ID}{REST}key = {{ place = 'header' }}\n",
            "6: price.aggregate/mine: key: needs the name of the header that carries it",
        ),
        (
            f"[[resources]]\n{ID}{REST}key = {{ place = 'path' }}\n",
            "6: price.aggregate/mine: key: is carried in the path: put {key} into the url",
        ),
        (
            f"[[resources]]\n{ID}{REST}key = {{ place = 'bearer', variable = 'HOME' }}\n",
            "6: price.aggregate/mine: key.variable: 'HOME' is no name such as",
        ),
        (
            f"[[resources]]\n{ID}{REST}[[resources.errors]]\nclass = 'bad'\n",
            "7: price.aggregate/mine: errors.0.class",
        ),
        (
            f"[[resources]]\n{ID}{REST}[[resources.errors]]\nclass = 'ok'\nmatches = '('\n",
            "8: price.aggregate/mine: errors.0.matches: '(' is no regular expression",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("?of={id}", ""),
            "4: price.aggregate/mine: url: it would answer alike for all: neither request nor",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("{symbol}", "bitcoin"),
            "4: price.aggregate/mine: url: it would answer alike for all",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("{symbol}", "{coingeko}"),
            "5: price.aggregate/mine: read.id: nothing fills {coingeko}; there are",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("of={id}", "of={id}&at={address}"),
            "4: price.aggregate/mine: url: nothing fills {address} in price.aggregate",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("of={id}", "of={id"),
            "4: price.aggregate/mine: url: a brace in a URL is that of a placeholder",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("value", "assets = ['bitcoin'], value"),
            "5: price.aggregate/mine: read.assets: bitcoin is called btc here",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("value", "quotes = ['usd'], value"),
            "5: price.aggregate/mine: read.quotes: usd must be in capitals",
        ),
        (
            f"[[resources]]\n{ID}{REST}".replace("value", "quotes = ['USD', 'EUR'], value"),
            "5: price.aggregate/mine: read.quotes: are several, and neither",
        ),
        (
            '[[resources]]\nid = "gas.evm/mine"\nlevel = "low"\nurl = "https://h/"\n'
            'read = { base_fee = "f | wei" }\n',
            "4: gas.evm/mine: url: it would answer alike for all: neither request nor reading has",
        ),
        (
            '[[resources]]\nid = "balance.bsc/mine"\nlevel = "low"\nurl = "https://h/{chain}"\n'
            'read = { raw = "f" }\n',
            "4: balance.bsc/mine: url: it would answer alike for all",
        ),
        (
            '[[resources]]\nid = "gas.evm/mine"\nprovider = "rpc"\nlevel = "low"\n'
            'via = "rpc.nope"\nreader = "rpc_gas"\n',
            "5: gas.evm/mine: via: rpc.nope is no chain of nodes",
        ),
        (
            '[[resources]]\nid = "balance.bitcoin/mine"\nlevel = "low"\nmethod = "POST"\n'
            'url = "https://h/"\nreader = "rpc_balance"\n',
            "6: balance.bitcoin/mine: reader: rpc_balance does not read Bitcoin",
        ),
        (
            f"[[resources]]\n{ID}{REST}headers = {{ X = 'a\u0009b' }}\n",
            "6: price.aggregate/mine: headers: X must be of printable characters",
        ),
        (
            f"[[resources]]\n{ID}{REST}body = {{ day = 2026-01-01 }}\nmethod = 'POST'\n",
            "6: price.aggregate/mine: body: 2026-01-01 is nothing that JSON can say",
        ),
        (
            f"[[resources]]\n{ID}{REST}body = {{ a = 1 }}\n",
            "1: price.aggregate/mine: method: must be POST",
        ),
        (
            "[providers.mine]\nname = 'X'\nlimits = [[9, 86400]]\n"
            f"[[resources]]\n{ID}{REST}hedge = true\n",
            "9: price.aggregate/mine: hedge: must be false: its calls are counted",
        ),
        (
            f"[[resources]]\n{ID}{REST}key = 'MINE_API_KEY'\n",
            "6: price.aggregate/mine: key: needs the place that carries it",
        ),
        (
            f"[[resources]]\n{ID}{REST}[[resources.errors]]\nclass = 'ok'\npath = 'a..b'\n",
            "8: price.aggregate/mine: errors.0.path: 'a..b' is not a path",
        ),
        (
            '[[resources]]\nid = "stats.bitcoin/mine"\nlevel = "low"\nurl = "https://h/"\n'
            'read = { height = "h", also = [{ url = "file:///x", height = "h" }] }\n',
            "5: stats.bitcoin/mine: read.also[0].url: 'file:///x' is no URL",
        ),
        (
            "[providers.x]\nname = 'X'\nlimits = [[9, 604800]]\n",
            "3: providers.x: limits.0: a limit is of 86400 s at most, or of a month",
        ),
        (
            "[providers.x]\nname = 'X'\nlimits = [[9, 60], [5, 60]]\n",
            "3: providers.x: limits: there are two limits of one time",
        ),
        (
            "[providers.mine]\nname = 'X'\nlimits = [[9, 60]]\n"
            f"[[resources]]\n{ID}{REST}weight = 10\n",
            "9: price.aggregate/mine: weight: 10 is more than its provider's limit of 9",
        ),
        ('[rpc]\nbase = "https://h"\n', "2: rpc.base: must be a list of URLs, or lists of critic"),
        ('[rpc]\nbase = ["h"]\n', "2: 'h' is no URL such as https://host/path"),
        ("[rpc.base]\ngreat = []\n", "1: rpc.base: must be a list of URLs, or lists of critical"),
        ("[levels.top]\ntotal_s = 1\n", "1: levels.top is unknown; there are critical, high, medi"),
        ("[levels.low]\ntotal_s = -1\n", "2: levels.low: total_s: Input should be greater than 0"),
        ('[providers.x]\nname = ""\n', "2: providers.x: name: String should have at least 1"),
        ("[providers.x]\nname = 'X'\nlimits = [[1]]\n", "3: providers.x: limits.0: List should"),
        ("providers.x = 1\n", "1: x: must be a table"),
        (
            f"[[resources]]\n{ID}{REST}provider = 'nobody'\n",
            "6: price.aggregate/mine: there is no [providers.nobody]",
        ),
    ],
)
def test_a_mistake_is_told_by_file_line_and_reason(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "own.toml"
    with pytest.raises(RegistryError) as caught:
        loaded(tmp_path, text)
    assert any(
        line.startswith(f"{path}:{told.replace('{path}', str(path))}")
        for line in caught.value.lines
    ), caught.value.lines


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught:
        loaded(tmp_path, "[levels.top]\n[[resources]]\n[[resources]]\nid = 'news/x'\n")
    told = [line.partition("own.toml:")[2].partition(":")[0] for line in caught.value.lines]
    assert sorted(set(told)) == ["1", "2", "3"]


def test_a_key_in_a_url_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught:
        loaded(tmp_path, f"[[resources]]\n{ID}{REST}".replace("h.example", "me:secret@h.example"))
    assert "secret" not in str(caught.value)
