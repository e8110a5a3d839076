"""Every script of the queue against a naive second implementation, from states drawn at random,
damaged ones included: the same reply, records, expiries, counter, messages and events."""

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import redis

from job_queue.queue import JobQueue
from tests.fixtures.canned_store import CannedStore
from tests.job_queue.model import NOW, Hash, Model

OURS: Final = "7 nonce us"
REST_MS: Final = 10_000_000
# How long ago a run ended, and how long its job still rests, on a machine busy for this long.
LATE_MS: Final = 300_000
RESTS: Final = {9_000_000: 1_000_000, 4_000_000: 6_000_000, 20_000_000: 0, -5_000_000: 0}
KEEP_S: Final = 1_000
CASES: Final = 400
NUMBERS: Final = ("0", "1", "2", "3", "9", "-1", "1.5", "abc", "", None)
LARGE: Final = ("99999999999999", "100000000000000")
VALUES: Final[dict[str, tuple[str | None, ...]]] = {
    "state": ("queued", "active", "active", "complete", "failed", "aborted", "", None, "odd"),
    "run": ("1", "2", *NUMBERS),
    "seq": (*NUMBERS, *LARGE),
    "enqueued_at": ("11", None, *LARGE),
    "started_at": ("12", "", None),
    "finished_at": ("13", "", None),
    "attempts": ("1", "2", "3", *NUMBERS),
    "phase": ("fetch", None),
    "done": ("4", "abc", None),
    "total": ("6", "abc", None),
    "error": ("old", "", None),
    "result": ("{}", "", None),
    "lease": (OURS, OURS, "6 nonce dead", "", None),
    "coalesced": ("1", "", None),
    "rerun_seq": ("5", "", "", None, *LARGE),
    "rerun_at": ("17", "", None),
    "last_run": ("1", "2", None),
    "last_state": ("complete", "failed", None),
    "last_as_of": ("18", None),
    "last_finished_at": ("19", None),
    "last_result": ("{}", None),
    "last_error": ("why", None),
    "asked_by": ("1:5", "2:5", "3:5", "9:", "", None),
    "last_lease": (OURS, "6 nonce dead", None),
    "failures": ("3", "abc", None),
    "other": ("of others", None),
}


def lua_of(name: str) -> str:
    """The script as the queue has it."""
    store = CannedStore()
    JobQueue(store)
    return store.scripts[name]


@dataclass
class Server:
    """A real store, and a listener of the channel `c`."""

    client: redis.Redis
    listener: Any

    def write(self, model: Model, locks: dict[str, tuple[str, int | None]]) -> None:
        pipe = self.client.pipeline(transaction=False)
        pipe.flushall()
        for i, job in enumerate(model.jobs):
            if job:
                pipe.hset(f"job:{i}", mapping=job)  # type: ignore[arg-type]
                if (left_s := model.expire[i]) is not None:
                    pipe.expire(f"job:{i}", left_s)
        if model.counter is not None:
            pipe.set("counter", model.counter)
        for key, (value, left_ms) in locks.items():
            pipe.set(key, value, px=left_ms)
        pipe.execute()

    def read(self, model: Model, now_ms: int) -> Model:
        """What is stored now, with times near to the store's own as NOW."""
        pipe = self.client.pipeline(transaction=False)
        for i in range(len(model.jobs)):
            pipe.hgetall(f"job:{i}")
            pipe.ttl(f"job:{i}")
        pipe.get("counter")
        pipe.xrange("events")
        pipe.publish("c", "(end)")
        *found, counter, entries, _ = pipe.execute()
        jobs: list[Hash | None] = []
        for stored in found[::2]:
            job = {name.decode(): value.decode() for name, value in stored.items()}
            since = job.get("rest_from", "")
            if since.isdecimal() and abs(int(since) - now_ms) < LATE_MS:
                job["rest_from"] = NOW
            jobs.append(job or None)
        expire = [_nearly(left_s) for left_s in found[1::2]]
        counted = None if counter is None else counter.decode()
        told = [{n.decode(): v.decode() for n, v in fields.items()} for _, fields in entries]
        return Model(model.lock, jobs, expire, counted, model.rests, self._heard(), told)

    def _heard(self) -> list[str]:
        heard: list[str] = []
        while (message := self.listener.get_message(timeout=20)) is not None:
            if message["type"] == "message":
                if message["data"] == b"(end)":
                    break
                heard.append(message["data"].decode())
        return heard

    def now_ms(self) -> int:
        seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000


def _nearly(left_s: int) -> int | None:
    if left_s < 0:
        return None
    return next((known for known in (KEEP_S, 5_000) if known - 300 < left_s <= known), left_s)


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as listener:
        listener.subscribe("c")
        assert listener.get_message(timeout=20) is not None
        yield Server(client, listener)


def drawn(chance: random.Random, now_ms: int, jobs: int) -> Model:
    rests = {str(now_ms - ago): left for ago, left in RESTS.items()}
    records: list[Hash | None] = []
    for _ in range(jobs):
        chosen = {name: chance.choice(values) for name, values in VALUES.items()}
        chosen["rest_from"] = chance.choice([*rests, *rests, "", "abc", None])
        record = {name: value for name, value in chosen.items() if value is not None}
        if chance.random() < 0.4:
            record |= {"state": "active", "lease": OURS, "run": chance.choice("12")}
        records.append(record if chance.random() < 0.9 else None)
    expire = [chance.choice((None, 5_000)) if record else None for record in records]
    lock = chance.choice((OURS, OURS, OURS, "8 nonce another", None))
    counter = chance.choice(("4", "-1", "0", "abc", "99999999999998", "99999999999999", None))
    return Model(lock, records, expire, counter, rests)


def plain(reply: Any) -> Any:
    if isinstance(reply, bytes):
        return reply.decode()
    return [plain(part) for part in reply] if isinstance(reply, list) else reply


def nearly(reply: Any, expected: Any) -> bool:
    """Equal, but for waits, which are a little less than expected: time passes."""
    if isinstance(expected, int) and expected > 1_000:
        return isinstance(reply, int) and expected - LATE_MS < reply <= expected
    if isinstance(expected, list) and isinstance(reply, list):
        return len(expected) == len(reply) and all(map(nearly, reply, expected))
    return bool(reply == expected)


def compare(
    server: Server,
    lua: str,
    jobs: int,
    keys: list[str],
    draw: Callable[[random.Random], list[Any]],
    expected: Callable[[Model, list[Any]], Any],
) -> None:
    script = server.client.register_script(lua)
    for case in range(CASES):
        chance = random.Random(case)  # noqa: S311 - the same every time
        now_ms = server.now_ms()
        model = drawn(chance, now_ms, jobs)
        arguments = draw(chance)
        server.write(model, {} if model.lock is None else {"lock": (model.lock, None)})
        before = copy.deepcopy(model)
        reply = plain(script(keys=keys, args=arguments))
        wanted = expected(model, arguments)
        assert nearly(reply, wanted), (case, before, arguments, reply, wanted)
        stored = server.read(model, now_ms)
        assert stored == model, (case, before, arguments)


def test_request(server: Server) -> None:
    compare(
        *(server, lua_of("request"), 1, ["events", "job:0", "counter"]),
        lambda chance: ["21", chance.choice(("c", "")), "id", chance.choice(("", "77"))],
        lambda model, given: model.request(*given),
    )


def test_take(server: Server) -> None:
    compare(
        *(server, lua_of("take"), 3, ["events", "lock", "job:0", "job:1", "job:2"]),
        lambda chance: [OURS, "22", 3, KEEP_S, REST_MS],
        lambda model, given: model.take(*given),
    )


def test_progress(server: Server) -> None:
    compare(
        *(server, lua_of("progress"), 1, ["lock", "job:0"]),
        lambda chance: [OURS, chance.choice("12"), "merge", "8", "9"],
        lambda model, given: model.progress(*given),
    )


def test_finish(server: Server) -> None:
    compare(
        *(server, lua_of("finish"), 1, ["events", "lock", "job:0"]),
        lambda chance: [
            *(OURS, chance.choice("12"), chance.choice(("complete", "failed")), "23", "24"),
            *('{"a":1}', "no", KEEP_S, chance.choice(("c", "")), "id"),
        ],
        lambda model, given: model.finish(*given),
    )


def test_hand_back(server: Server) -> None:
    compare(
        *(server, lua_of("hand_back"), 1, ["events", "lock", "job:0"]),
        lambda chance: [OURS, chance.choice("12"), chance.choice(("c", "")), "id"],
        lambda model, given: model.hand_back(*given),
    )


def test_abort(server: Server) -> None:
    compare(
        *(server, lua_of("abort"), 1, ["events", "job:0"]),
        lambda chance: ["25", KEEP_S],
        lambda model, given: model.abort(*given),
    )


def test_list(server: Server) -> None:
    compare(
        *(server, lua_of("list"), 3, ["job:0", "job:1", "job:2"]),
        lambda chance: [],
        lambda model, given: [model.record(i) for i in range(3)],
    )


def test_look(server: Server) -> None:
    """Locks are written by the script itself: within it the store's clock stands still."""
    look = lua_of("has_work").removesuffix("return look(1, 1)")
    lua = "for i, px in ipairs({ARGV[1], ARGV[2]}) do\n"
    lua += "  local key = KEYS[i == 1 and 1 or 4]\n"
    lua += "  if px == '-1' then redis.call('SET', key, 'x') end\n"
    lua += "  if tonumber(px) > 0 then redis.call('SET', key, 'x', 'PX', px) end\n"
    lua += "end\n"
    keys = ["lock:a", "job:0", "job:1", "lock:b", "job:2"]
    held = (-2, -1, 100_000, 300_000, 300_001)
    compare(
        *(
            server,
            look + lua + "return look(1, 3)",
            3,
            keys,
        ),
        lambda chance: [chance.choice(held), chance.choice(held), REST_MS, 3, 2],
        lambda model, given: model.look(given[:2], REST_MS, (2, 1)),
    )


def test_has_work_begins_with_the_first_lane_and_the_first_argument(server: Server) -> None:
    server.client.flushall()
    server.client.hset("job:2", mapping={"state": "queued"})
    keys = ["lock:a", "job:0", "job:1", "lock:b", "job:2"]
    script = server.client.register_script(lua_of("has_work"))
    assert script(keys=keys, args=[REST_MS, 3, 2]) == [-1, 0]


@pytest.mark.parametrize(("length", "read"), [(100_000, True), (100_001, False)])
def test_fields_are_read_up_to_a_length(server: Server, length: int, read: bool) -> None:
    server.client.flushall()
    server.client.hset("job:0", mapping={"state": "failed", "error": "x" * length})
    (record,) = server.client.register_script(lua_of("list"))(keys=["job:0"], args=[])
    assert record[::2] == ([b"state", b"error"] if read else [b"state"])


def test_a_full_store_still_takes_the_end_and_the_progress_of_a_run(server: Server) -> None:
    client = server.client
    scripts: dict[str, tuple[str, list[Any]]] = {
        "progress": (lua_of("progress"), [OURS, "1", "merge", "8", "9"]),
        "finish": (lua_of("finish"), [OURS, "1", "failed", "", "24", "", "full", KEEP_S, "", "id"]),
        "hand_back": (lua_of("hand_back"), [OURS, "1", "", "id"]),
        "abort": (lua_of("abort"), ["25", KEEP_S]),
    }
    for name, (lua, arguments) in scripts.items():
        client.flushall()
        client.set("lock", OURS)
        client.hset("job:0", mapping={"state": "active", "run": "1", "lease": OURS})
        keys = ["job:0"] if name == "abort" else ["lock", "job:0"]
        keys = keys if name == "progress" else ["events", *keys]
        script = client.register_script(lua)
        client.script_load(lua)
        client.config_set("maxmemory", "1")
        try:
            assert script(keys=keys, args=arguments), name
        finally:
            client.config_set("maxmemory", "0")
        state = client.hget("job:0", "state")
        assert state == {"progress": b"active", "finish": b"failed", "hand_back": b"queued"}.get(
            name, b"aborted"
        )
