"""CORS preflights and headers, over HTTP."""

from tests.fixtures.api import ServedApi, StartApi, ask
from tests.fixtures.documents import AS_OF_MS, document


async def test_no_other_origin_is_let_in(native_api: ServedApi) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for method, path in (("OPTIONS", "/get-market-data"), ("GET", "/jobs"), ("GET", "/cache/4h")):
        _, got, _ = await ask(native_api, method, path, headers=headers)
        assert not [name for name in got if name.startswith("access-control")]


ORIGIN = "https://ours.example"


async def test_the_origins_that_are_let_in(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, cors_origins=(ORIGIN,), api_token="t0ken")
    await api.publish("4h", document(), AS_OF_MS)
    for origin in (ORIGIN, "https://evil.example"):
        for path in ("/cache/4h", "/jobs", "/cache/8h", "/nope"):
            _, got, _ = await ask(api, "GET", path, headers={"Origin": origin})
            allowed = got.get("access-control-allow-origin")
            assert allowed == (ORIGIN if origin == ORIGIN else None)
            assert "Origin" in got["vary"]
            assert "access-control-allow-credentials" not in got
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        asks["Access-Control-Request-Headers"] = "authorization,content-type"
        async with api.http.options("/get-market-data", headers=asks) as answer:
            assert (answer.status == 200) == (origin == ORIGIN)
            assert ("Access-Control-Allow-Origin" in answer.headers) == (origin == ORIGIN)
    headers = {"Origin": ORIGIN}
    _, got, _ = await ask(api, "GET", "/cache/4h", headers=headers)
    assert "ETag" in got["access-control-expose-headers"]
    assert set(got["vary"].split(", ")) == {"Accept", "Accept-Encoding", "Origin"}
    # The token is asked for as ever.
    asked = await ask(api, "POST", "/get-market-data", {"timeframe": "4h"}, headers=headers)
    assert asked[0] == 401


async def test_documents_are_served_to_each_origin_by_its_own_right(
    start_api: StartApi, redis_url: str
) -> None:
    """The same request over and over, from pages of several origins and from none."""
    plain = await start_api(redis_url=redis_url)
    api = await start_api(redis_url=redis_url, cors_origins=(ORIGIN, "https://two.example"))
    await api.publish("4h", document(), AS_OF_MS)
    paths = ("/cache/4h?limit=1", "/cache/4h", "/cache/8h", "/cache/4h?limit=0")
    added = {"access-control-allow-origin", "access-control-expose-headers"}
    for path in paths:
        expected = await ask(plain, "GET", path)
        for origin in (ORIGIN, "https://two.example", "https://evil.example", None) * 3:
            asked = {"Origin": origin} if origin else {}
            status, headers, body = await ask(api, "GET", path, headers=asked)
            assert (status, body) == (expected[0], expected[2])
            allowed = headers.get("access-control-allow-origin")
            assert allowed == (origin if origin != "https://evil.example" else None)
            # All else is as it is where no other origin is let in.
            varies = {"vary", "date", "age", *added}
            other = {name: value for name, value in headers.items() if name not in varies}
            assert other == {n: v for n, v in expected[1].items() if n not in varies}
            assert "Origin" in headers["vary"].split(", ")
    tag = (await ask(api, "GET", "/cache/4h"))[1]["etag"]
    for _ in range(3):
        asked = {"Origin": ORIGIN, "If-None-Match": tag}
        async with api.http.get("/cache/4h", headers=asked) as answer:
            assert answer.status == 304
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


async def test_what_a_browser_asks_before(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, cors_origins=(ORIGIN,))

    async def allowed(path: str = "/cache/4h", **asked: str) -> tuple[int, str | None]:
        headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"} | {
            name.replace("_", "-"): value for name, value in asked.items()
        }
        async with api.http.options(path, headers=headers) as answer:
            assert "Origin" in answer.headers["Vary"]
            if answer.status == 200:
                methods = set(answer.headers["Access-Control-Allow-Methods"].split(", "))
                assert methods == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
            return answer.status, answer.headers.get("Access-Control-Allow-Origin")

    assert await allowed() == (200, ORIGIN)
    assert await allowed("/jobs/collect:4h", Access_Control_Request_Method="DELETE") == (
        200,
        ORIGIN,
    )
    assert await allowed(Access_Control_Request_Headers="If-None-Match, content-type") == (
        200,
        ORIGIN,
    )
    assert await allowed(Access_Control_Request_Method="PURGE") == (400, ORIGIN)
    assert await allowed(Access_Control_Request_Headers="x-other") == (400, ORIGIN)
    assert await allowed(Access_Control_Request_Private_Network="true") == (400, ORIGIN)
    assert await allowed(Origin="https://evil.example") == (400, None)
    # What is no such question is answered as ever.
    async with api.http.options("/cache/4h", headers={"Origin": ORIGIN}) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


async def test_a_star_lets_all_origins_in(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, cors_origins=("*",))
    await api.publish("4h", document(), AS_OF_MS)
    for origin in (ORIGIN, "https://other.example", "null"):
        for path in ("/cache/4h", "/jobs"):
            status, got, _ = await ask(api, "GET", path, headers={"Origin": origin})
            assert (status, got["access-control-allow-origin"]) == (200, "*")
            # The answer is the same for all of them.
            assert "Origin" not in got.get("vary", "")
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        async with api.http.options("/get-market-data", headers=asks) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
    _, got, _ = await ask(api, "GET", "/cache/4h")
    assert "access-control-allow-origin" not in got
