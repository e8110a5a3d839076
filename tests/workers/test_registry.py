"""Workers are found in modules of users and installed packages; what is wrong is told at once."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from config import Settings, load_settings
from tests.workers.users_modules import Write, write_module
from workers.definition import WorkerDefinition, WrongWorkers
from workers.registry import load_registry

__all__ = ["write_module"]


def settings_of(*modules: str) -> Settings:
    return load_settings(workers=modules)


def lines_of(*modules: str) -> list[str]:
    with pytest.raises(WrongWorkers) as raised:
        load_registry(settings_of(*modules), [])
    return raised.value.lines


def test_everything_that_a_decorator_says_is_in_the_definition(write_module: Write) -> None:
    write_module(
        "plugins.funds",
        '''
        from pydantic import BaseModel
        from perpcache.workers import ScheduleBaseWorker, schedule, websocket

        class Wanted(BaseModel):
            url: str

        @schedule("0 15 * * 1-5", tz="Asia/Ho_Chi_Minh", timeout="2m", attempts=5, queue="slow",
                  config=Wanted, on_missed="skip", enabled=False)
        async def fund_values(job):
            """Fund values of the day.

            More about them.
            """

        @schedule(every="90s", offset="30s", egress="home", name="hourly")
        def named(job): ...

        @schedule()
        class HTTPNews2Worker(ScheduleBaseWorker):
            def run(self): ...

        @schedule(every=60, kind="refresh", timeframes="5m, 8h,4h", jobs=["funding"])
        async def refreshing(job): ...

        @websocket("ws://127.0.0.1/x", egress="home")
        async def trades(feed): ...
        ''',
    )
    found = load_registry(settings_of("plugins.funds"), []).definitions
    assert list(found) == ["fund_values", "hourly", "http_news2_worker", "refreshing", "trades"]
    expected: dict[str, Mapping[str, Any]] = {
        "fund_values": {
            "cron": "0 15 * * 1-5",
            "tz": "Asia/Ho_Chi_Minh",
            "timeout_s": 120.0,
            "max_attempts": 5,
            "queue": "slow",
            "on_missed": "skip",
            "enabled": False,
            "description": "Fund values of the day.",
            "place": "plugins/funds.py:8",
            "origin": "user",
            "kind": "schedule",
        },
        "hourly": {"every_s": 90, "offset_s": 30, "egress": "home", "place": "plugins/funds.py:16"},
        "http_news2_worker": {"cron": None, "every_s": None},
        "refreshing": {"every_s": 60, "refreshes": ("collect:5m", "collect:4h", "funding")},
        "trades": {"kind": "websocket", "url": "ws://127.0.0.1/x", "egress": "home"},
    }
    for name, values in expected.items():
        assert {key: getattr(found[name], key) for key in values} == values
    assert found["fund_values"].config is not None
    assert list(found["fund_values"].config.model_fields) == ["url"]


def test_every_mistake_is_told_at_once_with_file_and_line(write_module: Write) -> None:
    write_module(
        "wrong",
        """
        from perpcache.workers import ScheduleBaseWorker, WebSocketBaseWorker, schedule, websocket

        @schedule("61 * * * *", tz="Mars/Olympus", queue="No Good")
        async def a(job): ...

        @schedule("0 0 30 2 *", every="5m", timeout=0, attempts=0, egress="not a name")
        async def b(job): ...

        @schedule(every="5 minutes", offset="10s", on_missed="two", config=dict, enabled="yes")
        async def c(job): ...

        @schedule(every="1m", offset="1m", tz="UTC", kind="refresh", timeframes="5m,7m")
        async def d(job): ...

        @schedule(every="1m", kind="refresh")
        async def e(job): ...

        @schedule(every="1m", kind="refresh", jobs="nothing")
        async def f(job): yield 1

        @schedule(every="1m", kind="often", timeframes="5m", name="Big Name")
        class G: ...

        @schedule(every="1m")
        class H(ScheduleBaseWorker): ...

        @websocket(url="http://x")
        class I(WebSocketBaseWorker): ...

        schedule(every="1m")(7)

        @websocket(url="ws://x", often=3)
        def j(feed): ...

        @schedule()
        async def k(): ...
        """,
    )
    told = [(line.split(":")[1], line.split(": ", 3)[1:]) for line in lines_of("wrong")]
    assert [(int(line), who, what) for line, (who, what, _) in told] == [
        (4, "worker a", "cron"),
        (4, "worker a", "tz"),
        (4, "worker a", "queue"),
        (7, "worker b", "every"),
        (7, "worker b", "cron"),
        (7, "worker b", "egress"),
        (7, "worker b", "timeout"),
        (7, "worker b", "attempts"),
        (10, "worker c", "every"),
        (10, "worker c", "on_missed"),
        (10, "worker c", "enabled"),
        (10, "worker c", "config"),
        (13, "worker d", "offset"),
        (13, "worker d", "tz"),
        (13, "worker d", "timeframes"),
        (16, "worker e", "timeframes"),
        (19, "worker f", "function"),
        (19, "worker f", "jobs"),
        (22, "worker Big Name", "class"),
        (22, "worker Big Name", "kind"),
        (22, "worker Big Name", "name"),
        (25, "worker h", "class"),
        (28, "worker i", "class"),
        (28, "worker i", "url"),
        (31, "worker ?", "function"),
        (31, "worker ?", "name"),
        (33, "worker j", "function"),
        (33, "worker j", "options"),
        (36, "worker k", "function"),
    ]
    lines = lines_of("wrong")
    assert all(line.startswith("wrong.py:") for line in lines)
    assert "'Mars/Olympus' is no time zone" in lines[1] and "IANA" in lines[1]
    assert "five fields" in lines[0] and "'5 minutes' is no period: write 30s" in lines[8]


def test_a_name_is_registered_once(write_module: Write) -> None:
    text = """
    from perpcache.workers import schedule

    @schedule(every="1h")
    async def news(job): ...
    """
    write_module("first", text)
    write_module("second", text + "\n    @schedule(every='1h')\n    async def more(job): ...\n")
    assert lines_of("first", "second") == [
        "second.py:4: worker news: first.py:4 has the name, too: give each another"
    ]
    write_module("twice", text + text.replace("import schedule", "import schedule  # again"))
    assert lines_of("twice") == [
        "twice.py:9: worker news: twice.py:4 has the name, too: give each another"
    ]


def test_a_module_that_others_import_is_found_once(write_module: Write) -> None:
    """As seed 003 has it: a package imports its workers, and settings name the package, parts of
    it, or both; also where something else has imported them before."""
    worker = (
        "from perpcache.workers import schedule\n@schedule(every='1h')\nasync def {}(job): ...\n"
    )
    write_module("team.__init__", "import team.one\nfrom team import two\n")
    write_module("team.one", worker.format("one"))
    write_module("team.two", worker.format("two"))
    write_module("outside", worker.format("outside"))
    write_module("inside", "import outside\n")
    for modules, names in [
        (("team",), ["one", "two"]),
        (("team", "team.one"), ["one", "two"]),
        (("team.two",), ["two"]),
        (("outside", "inside"), ["outside"]),
        (("inside", "outside"), ["outside"]),
    ]:
        found = load_registry(settings_of(*modules), []).definitions
        assert sorted(found) == names, modules


def test_adding_a_worker_is_one_file(write_module: Write) -> None:
    """WORKERS names a folder once; each file that comes into it later is found, at any depth."""
    worker = (
        "from perpcache.workers import schedule\n@schedule(every='1h')\nasync def {}(job): ...\n"
    )
    write_module("team.one", worker.format("one"))
    assert list(load_registry(settings_of("team"), []).definitions) == ["one"]
    write_module("team.two", worker.format("two"))
    assert list(load_registry(settings_of("team"), []).definitions) == ["one", "two"]
    write_module("team.asia.funds", worker.format("funds"))
    write_module("team.asia.__init__", "")
    write_module("team._draft", worker.format("draft"))
    assert list(load_registry(settings_of("team"), []).definitions) == ["one", "two", "funds"]
    write_module("team.broken", "import nothing_of_that_name")
    write_module("team.more_broken", "1/0")
    first, second = lines_of("team")
    assert first.startswith("WORKERS: team.broken cannot be imported: ")
    assert second.startswith("WORKERS: team.more_broken cannot be imported: ")


def test_a_module_without_workers_is_a_mistake(write_module: Write, tmp_path: Path) -> None:
    """It is another one than was meant: one of ours, or an empty folder."""
    (tmp_path / "empty").mkdir()
    write_module("texts", "raise AssertionError('ours has the name')")
    assert [line.partition(" (")[0] for line in lines_of("texts.printable", "empty")] == [
        "WORKERS: texts.printable declares no worker and no database",
        "WORKERS: empty declares no worker and no database",
    ]


def test_a_users_worker_takes_the_place_of_a_built_in_one(write_module: Write) -> None:
    async def rounds(job: object) -> None: ...

    built_in = WorkerDefinition(
        name="ui_data", kind="schedule", function=rounds, place="jobs/agent.py:1", origin="code"
    )
    write_module(
        "mine", "from perpcache.workers import schedule\n@schedule()\nasync def ui_data(job): ...\n"
    )
    assert load_registry(settings_of(), [built_in]).definitions == {"ui_data": built_in}
    found = load_registry(settings_of("mine"), [built_in]).definitions
    assert [(one.name, one.origin) for one in found.values()] == [("ui_data", "user")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import nothing_of_that_name", "broken.py:1: ModuleNotFoundError: No module named"),
        ("x = 1\ndef f(:\n", "broken.py:2: SyntaxError: invalid syntax"),
        ("def f():\n    raise SystemExit(3)\nf()\n", "broken.py:2: SystemExit: 3"),
        ("raise ValueError('a\\x1b[31m' * 999)\n", "broken.py:1: ValueError: a [31ma [31m"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told(
    write_module: Write, text: str, told: str
) -> None:
    write_module("broken", text)
    write_module("wrong", "from perpcache.workers import schedule\nschedule(every=0)(print)\n")
    lines = lines_of("missing", "broken", "wrong")
    assert "WORKERS: missing cannot be imported: ModuleNotFoundError: No module named" in lines[0]
    assert lines[1].startswith("WORKERS: broken cannot be imported: ") and told in lines[1]
    assert len(lines[1]) < 500 and lines[1].isprintable()
    assert "wrong.py:2: worker print: every: 0 must be 1 s to 366 days" in lines


def test_installed_packages_are_found_by_entry_point(write_module: Write, tmp_path: Path) -> None:
    write_module(
        "crawlers",
        "from perpcache.workers import schedule\n@schedule()\nasync def crawl(job): ...\n",
    )
    info = tmp_path / "crawlers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crawlers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[perpcache.workers]\nmine = crawlers\nbad = absent\n")
    sys.path.append(str(tmp_path))
    lines = lines_of()
    assert lines == [
        "entry point bad of crawlers: absent cannot be imported: ModuleNotFoundError: No module"
        " named 'absent'"
    ]
    (info / "entry_points.txt").write_text("[perpcache.workers]\nmine = crawlers\n")
    assert list(load_registry(settings_of("crawlers"), []).definitions) == ["crawl"]


def test_importing_the_decorators_pays_for_nothing_that_is_not_used() -> None:
    """The engine, cron, browsers and users' databases are imported by those who need them."""
    code = (
        "import sys, perpcache.workers;"
        "print([name for name in ('pgqueuer', 'cronsim', 'curl_cffi', 'sqlalchemy')"
        " if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run(  # noqa: S603 - fixed arguments
        [sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "[]"
