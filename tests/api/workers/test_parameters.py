"""Parameters that a GET of the routes of workers does not have are refused, with those it has."""

import re
from typing import Final

from tests.fixtures.api import ServedApi, ask
from tests.fixtures.controlled_workers import WITH_TOKEN

OF_WORKERS: Final = r"/api/(workers?|runs|config|queues|execution-log|failures|data-collections)\b"
PARTS: Final = {"name": "trades", "worker": "fund_values", "key": "pages", "run_id": "1"}


async def test_unknown_parameters_are_refused(controlled_api: ServedApi) -> None:
    _, _, page = await ask(controlled_api, "GET", "/openapi.json")
    asked = []
    for path, item in page["paths"].items():
        if not re.match(OF_WORKERS, path) or "get" not in item:
            continue
        known = [each["name"] for each in item["get"].get("parameters", ())]
        known = [name for name in known if f"{{{name}}}" not in path]
        status, _, answer = await ask(
            controlled_api, "GET", path.format(**PARTS) + "?wrold=1", headers=WITH_TOKEN
        )
        assert status == 422, path
        [told] = answer["detail"]
        assert (told["loc"], told["type"]) == (["query"], "unknown"), path
        told_names = re.findall(r"[a-z_]+", told["msg"].rpartition(" are ")[2]) if known else []
        assert sorted(told_names) == sorted(known), (path, told["msg"])
        assert known or told["msg"] == "unknown parameter: There are no parameters here", path
        # What others put after addresses against caches is nobody's mistake.
        status, _, answer = await ask(controlled_api, "GET", path.format(**PARTS) + "?_=1")
        assert status != 422, (path, answer)
        asked.append(path)
    assert len(asked) >= 16
