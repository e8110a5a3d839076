"""/api/config over HTTP: what is shared and own, what is refused, and that secrets stay hidden."""

from typing import Any, Final

from tests.api.workers.test_workers import change, messages, read
from tests.fixtures.api import ServedApi, ask

SECRET: Final = "hunter2-s3cret"


async def put(api: ServedApi, path: str, value: Any) -> tuple[int, Any]:
    return await change(api, "PUT", f"config/{path}", {"value": value})


async def test_the_chain_own_shared_default(controlled_api: ServedApi) -> None:
    api = controlled_api
    steps = (
        ("PUT", "pages", 5, "shared", 5),
        ("PUT", "fund_values/pages", 7, "own", 7),
        ("PUT", "pages", 6, "own", 7),
        ("DELETE", "fund_values/pages", None, "shared", 6),
        ("DELETE", "pages", None, "default", 3),
    )
    for method, path, value, level, expected in steps:
        body = {"value": value} if method == "PUT" else None
        status, answer = await change(api, method, f"config/{path}", body)
        assert status == 200, answer
        if method == "DELETE":
            assert answer["deleted"] is True
            assert (await change(api, method, f"config/{path}"))[1]["deleted"] is False
        found = await read(api, "config/fund_values/pages")
        assert (found["level"], found["value"]) == (level, expected), path
        one = {
            each["key"]: each for each in (await read(api, "workers/fund_values"))["configuration"]
        }
        assert one["pages"] == found


async def test_a_key_that_no_row_can_have_is_not_there(controlled_api: ServedApi) -> None:
    for path in ("config/a%00b", "config/fund_values/%00", f"config/{'x' * 5000}"):
        status, answer = await change(controlled_api, "DELETE", path)
        assert (status, answer["deleted"]) == (200, False)


async def test_secrets_are_told_to_nobody(controlled_api: ServedApi) -> None:
    api = controlled_api
    for path in ("fund_values/token", "token"):
        status, answer = await put(api, path, SECRET)
        assert (status, answer["value"], answer["secret"]) == (200, "***", True)
    for path in (
        *("config", "config/token", "config/fund_values/token", "workers/fund_values", "workers"),
        "execution-log",
    ):
        _, _, answer = await ask(api, "GET", f"/api/{path}")
        assert SECRET not in str(answer), path
    # A refusal does not repeat what was given, either.
    status, answer = await put(api, "fund_values/token", {"a": SECRET})
    assert (status, SECRET in str(answer)) == (422, False)


async def test_what_is_not_declared_or_allowed_is_refused(controlled_api: ServedApi) -> None:
    api = controlled_api
    for value, told in (
        (0, "1"),
        (10, "9"),
        ("many", "whole number"),
        (None, "whole number"),
        (2.5, "whole number"),
    ):
        status, answer = await put(api, "fund_values/pages", value)
        assert status == 422, value
        assert told in messages(answer)["value"], answer
        assert (await put(api, "pages", value))[0] == 422
    status, answer = await put(api, "fund_values/url", "ftp://x")
    assert (status, "url" in messages(answer)["value"]) == (422, True)
    for path, expected, told in (
        ("fund_values/page", 404, "pages"),
        ("fund_value/pages", 404, "fund_values"),
        ("%00/pages", 404, "no worker"),
        ("fund_values/%00", 404, "pages"),
        ("a%20b", 422, "letters"),
        ("k" * 500, 422, "letters"),
    ):
        status, answer = await put(api, path, 1)
        assert (status, told in str(answer)) in ((expected, True), (422, False)), (path, answer)
    for path in ("nothing", "fund_values/nothing", "%FF", "nobody/pages"):
        status, _, answer = await ask(api, "GET", f"/api/config/{path}")
        assert (status, answer["detail"].isprintable()) == (404, True), path
    bodies: tuple[Any, ...] = ({}, {"value": 1, "other": 2}, [], "x")
    for body in bodies:
        assert (await change(api, "PUT", "config/pages", body))[0] == 422, body
    large = {"value": "x" * 40_000}
    assert (await change(api, "PUT", "config/url", large))[0] == 422
    assert (await read(api, "config"))["configuration"] == []
