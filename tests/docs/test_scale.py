"""docs/scale.md: its commands measure parts that there are, its mix is the model's."""

import re
from typing import Final

from benchmarks.__main__ import PARTS
from benchmarks.capacity import COUNTS
from benchmarks.sizes import FULL
from tests.docs.blocks import ROOT, claim

DOCUMENT: Final = "docs/scale.md"
MEASURE: Final = claim(DOCUMENT, "make bench")


def test_every_command_measures_a_part() -> None:
    text = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    parts = re.findall(r"--part ([\w-]+)", text)
    assert {"bots", "running"} <= set(re.findall(r"--part ([\w-]+)", MEASURE.text))
    assert set(parts) <= set(PARTS)


def test_the_mix_is_that_of_the_load_test() -> None:
    text = (ROOT / DOCUMENT).read_text(encoding="utf-8").replace("\n", " ")
    whole, slices, newest, events = FULL.bots
    assert (
        f"of {sum(FULL.bots):,} bots {whole} read a document whole, {slices:,} one market" in text
    )
    assert f"{newest} the last two rows of all markets, each every {FULL.bots_pace_s:g} s" in text
    assert f"and {events} follow events" in text
    for count in COUNTS:
        assert f"**{count:,} bots.**" in text
