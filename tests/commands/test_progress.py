"""A job's progress as it is shown: phases in plain words, and full when they are over."""

import io
import re
from collections.abc import Sequence

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


# Several documents, published one after the other; not every look is in time.
OF_THREE_DOCUMENTS = (
    Progress("markets"),
    Progress("fetch", 90, 100),
    Progress("fetch", 1, 2),  # what turned out to be due after all
    Progress("merge", 0, 3),
    Progress("publish", 0, 3),
    Progress("merge", 1, 3),
    Progress("merge", 2, 3),
    Progress("publish", 2, 3),
)
# As the job of one timeframe reports 4h and 8h.
OF_TWO_NOT_COUNTED = (
    Progress("merge"),
    Progress("publish"),
    Progress("merge"),
    Progress("publish"),
)


def printed(*, terminal: bool, complete: bool, looks: Sequence[Progress] = LOOKS) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, color_system=None)
    with shown(console, "collect:4h") as progress:
        for look in looks:
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


def bars(*, complete: bool, looks: Sequence[Progress] = LOOKS) -> list[tuple[str, str]]:
    """The bars of all pictures, one after the other: the words, and how much of how many."""
    pictures = printed(terminal=True, complete=complete, looks=looks)
    return re.findall(r"collect:4h: ([a-z ]+?) +\S* *(\d+/\S+)", pictures)


def test_bars_of_a_complete_job_are_full() -> None:
    assert bars(complete=True)[-3:] == [
        ("looking up the markets", "1/1"),
        ("asking the exchanges", "800/800"),
        ("publishing", "2/2"),
    ]


def test_the_phase_of_a_job_that_failed_stays_as_it_was() -> None:
    assert printed(terminal=False, complete=False).splitlines()[-1] == "collect:4h: publishing 0/2"
    assert bars(complete=False)[-2:] == [("asking the exchanges", "800/800"), ("publishing", "0/2")]


def test_lines_of_several_documents_count_them() -> None:
    lines = printed(terminal=False, complete=True, looks=OF_THREE_DOCUMENTS).splitlines()
    assert [line.removeprefix("collect:4h: ") for line in lines] == [
        "looking up the markets",
        "asking the exchanges 90/100",
        "asking the exchanges 100/100",
        "putting the rows together 0/3",
        "publishing 0/3",
        "putting the rows together 1/3",
        "putting the rows together 2/3",
        "publishing 2/3",
        "putting the rows together 3/3",
        "publishing 3/3",
    ]
    lines = printed(terminal=False, complete=True, looks=OF_TWO_NOT_COUNTED).splitlines()
    assert lines == ["collect:4h: putting the rows together", "collect:4h: publishing"]


def test_each_phase_has_one_bar_that_never_goes_back() -> None:
    seen = bars(complete=False, looks=OF_THREE_DOCUMENTS)
    assert seen[-4:] == [
        ("looking up the markets", "1/1"),
        ("asking the exchanges", "100/100"),
        ("putting the rows together", "2/3"),
        ("publishing", "2/3"),
    ]
    assert bars(complete=True, looks=OF_THREE_DOCUMENTS)[-2:] == [
        ("putting the rows together", "3/3"),
        ("publishing", "3/3"),
    ]
    # A second round of a phase is a part of the first.
    again = (Progress("fetch", 90, 100), Progress("fetch", 1, 2))
    assert bars(complete=False, looks=again)[-1] == ("asking the exchanges", "90/100")
    others = (Progress("publish", 2, 3), Progress("merge", 0, 3), Progress("publish", 1, 3))
    assert bars(complete=False, looks=others)[-2] == ("publishing", "2/3")
    assert bars(complete=True, looks=OF_TWO_NOT_COUNTED)[-2:] == [
        ("putting the rows together", "1/1"),
        ("publishing", "1/1"),
    ]
