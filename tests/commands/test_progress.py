"""A job's progress as it is shown: phases in plain words, and full when they are over."""

import io
import re

from commands.console import Console
from commands.progress import shown
from jobs.context import Progress

# As a job is seen now and then: the last look at a phase is rarely its end.
LOOKS = (
    Progress("markets"),
    Progress("fetch"),
    Progress("fetch", 3, 800),
    Progress("fetch", 85, 800),
    Progress("fetch", 792, 800),
    Progress("publish", 0, 2),
)


def printed(*, terminal: bool, complete: bool) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, color_system=None)
    with shown(console, "collect:4h") as progress:
        for look in LOOKS:
            progress.show(look)
        if complete:
            progress.finish()
    return text.getvalue()


def test_lines_tell_each_phase_and_its_end() -> None:
    assert printed(terminal=False, complete=True).splitlines() == [
        "collect:4h: looking up the markets",
        "collect:4h: asking the exchanges",
        "collect:4h: asking the exchanges 85/800",
        "collect:4h: asking the exchanges 792/800",
        "collect:4h: asking the exchanges 800/800",
        "collect:4h: publishing 0/2",
        "collect:4h: publishing 2/2",
    ]


def bars(*, complete: bool) -> list[tuple[str, str]]:
    """The bars of all pictures, one after the other: the words, and how much of how many."""
    return re.findall(
        r"collect:4h: ([a-z ]+?) +\S* *(\d+/\S+)", printed(terminal=True, complete=complete)
    )


def test_bars_of_a_complete_job_are_full() -> None:
    assert bars(complete=True)[-3:] == [
        ("looking up the markets", "1/1"),
        ("asking the exchanges", "800/800"),
        ("publishing", "2/2"),
    ]


def test_the_phase_of_a_job_that_failed_stays_as_it_was() -> None:
    assert printed(terminal=False, complete=False).splitlines()[-1] == "collect:4h: publishing 0/2"
    assert bars(complete=False)[-2:] == [("asking the exchanges", "800/800"), ("publishing", "0/2")]
