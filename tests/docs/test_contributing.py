"""CONTRIBUTING.md names what is there, and tells few words."""

import importlib
import re

import pytest

from config import Settings
from tests.docs.blocks import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def rows(title: str) -> list[tuple[str, str]]:
    """First and second cell of each row of the section's table, without its head."""
    return re.findall(r"^\| (.+?) \| (.+?) \|", section(title), re.MULTILINE)[1:]


def resolve(name: str) -> object:
    """What a dotted name means: a module, or an attribute of one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if found is Settings and part in Settings.model_fields:
                return Settings.model_fields[part]
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize(("theirs", "ours"), rows("Names of the document this grew from"))
def test_a_name_of_the_first_description_leads_to_ours(theirs: str, ours: str) -> None:
    names = re.findall(r"`([\w.]+\.\w+)`", ours)
    assert names
    for name in names:
        resolve(name)


def test_the_names_that_the_first_description_leans_on_are_there() -> None:
    told = " ".join(theirs for theirs, _ in rows("Names of the document this grew from"))
    for name in (
        *("WORKER_LOCK_KEY", "task_queue", "POST_TIMEFRAMES", "background_worker"),
        *("_process_task", "_load_global_fr_cache", "prepare_fr_tasks", "fetch_funding_rates"),
        *("generate_and_save_8h_cache", "get_db_connection"),
    ):
        assert f"`{name}`" in told


def test_the_glossary_is_short() -> None:
    assert 10 <= len(rows("Words")) <= 15


def test_the_places_for_something_new_are_there() -> None:
    for place in re.findall(r"`([\w/]+\.\w+|[\w/]+/)`", section("Where something new goes")):
        assert (ROOT / place).exists(), place
