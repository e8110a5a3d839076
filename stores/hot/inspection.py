"""What the hot store's server is and allows: the user's rights, a cluster, a replica, eviction."""

import re
from dataclasses import dataclass, field
from typing import Final

from stores.hot.replies import named_texts
from stores.hot.store import HotStore, StoreRefused

OLDEST_VERSION: Final = (6, 2)
RIGHTS: Final = "+@read +@write +@connection +@scripting +@pubsub +time +info"
# In a script: "ACL failure in script: ... no permissions ...", before Redis 7 "NOPERM ..." or "The
# user executing the script can't run this command".
_NO_RIGHT: Final = re.compile(r"NOPERM|permission|user executing the script")
_NO_SCRIPTS: Final = re.compile(r"unknown command ['`]?eval", re.IGNORECASE)
_COMMAND: Final = re.compile(r"'([a-z]+)[|']")
# Without them something goes less well.
_OF_EVENTS: Final = frozenset(("XADD", "XRANGE", "XREVRANGE"))
_OF_JOURNAL: Final = frozenset(("COPY", "LINDEX", "LLEN", "LPOP", "LRANGE", "RPUSH"))
_NOT_NEEDED: Final = _OF_EVENTS | _OF_JOURNAL | {"INFO", "PUBLISH"}
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")

# try(probe, another; channel or ''): runs each command that Perpcache uses, on keys of no use.
# Returns {command, its error...} of those that were refused.
_TRY: Final = """
local refused = {}
local function try(name, ...)
  local answer = redis.pcall(name, ...)
  if type(answer) == 'table' and answer.err then
    refused[#refused + 1] = name
    refused[#refused + 1] = answer.err
  end
end
local a, b = KEYS[1], KEYS[2]
try('DEL', a, b)
try('SET', a, 'x', 'PX', '1000')
try('SETRANGE', a, '0', 'y')
try('GET', a)
try('MGET', a, b)
try('GETRANGE', a, '0', '1')
try('STRLEN', a)
try('EXISTS', a)
try('EXPIRE', a, '1')
try('PEXPIRE', a, '1000')
try('PTTL', a)
try('PERSIST', a)
try('RENAME', a, b)
try('UNLINK', b)
try('DEL', a, b)
try('INCR', a)
try('DEL', a)
try('HSET', a, 'f', '1')
try('HGET', a, 'f')
try('HMGET', a, 'f')
try('HGETALL', a)
try('HEXISTS', a, 'f')
try('HINCRBY', a, 'f', '1')
try('HDEL', a, 'g')
try('DEL', a)
try('SADD', a, 'm')
try('SMEMBERS', a)
try('SREM', a, 'm')
try('DEL', a)
try('XADD', a, 'MAXLEN', '1', '*', 'f', '1')
try('XRANGE', a, '-', '+')
try('XREVRANGE', a, '+', '-')
try('DEL', a, b)
try('RPUSH', a, 'e')
try('LLEN', a)
try('LINDEX', a, '0')
try('LRANGE', a, '0', '0')
try('COPY', a, b)
try('LPOP', a)
try('DEL', a, b)
try('TIME')
try('INFO', 'memory')
if ARGV[1] ~= '' then try('PUBLISH', ARGV[1], '') end
return refused
"""


@dataclass(slots=True)
class Inspection:
    """`refusal`: why the store cannot be used and what to do; None if it can. `warnings`: event
    names of the log, with their fields, about what will go less well than it could."""

    refusal: str | None = None
    warnings: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def warn(self, event: str, **fields: str) -> None:
        self.warnings.append((event, fields))


async def inspect(store: HotStore) -> Inspection:
    """Looks at the server, in two commands. Raises StoreUnavailable if the store is away."""
    found = Inspection()
    channel = store.channel("probe") if store.kind == "native" else ""
    try:
        flat = await store.script("try", _TRY).run(
            ["probe:1", "probe:2"], [channel], reply=named_texts
        )
    except StoreRefused as error:
        found.refusal = _why_no_script(error, store.prefix)
        if found.refusal is None:
            raise
        return found
    words = [word.decode(errors="replace") for word in flat]
    errors = dict(zip(words[::2], words[1::2], strict=True))
    refused = [name for name, why in errors.items() if _NO_RIGHT.search(why)]
    missing = [name for name in refused if name not in _NOT_NEEDED]
    if any("access" in errors[name] for name in missing):
        missing = [f"commands on keys {store.prefix}*"]
    if missing:
        found.refusal = _without_rights(", ".join(missing), store.prefix)
        return found
    if "PUBLISH" in refused:
        found.warn("store_without_publish", effect="waiting readers of other hosts look by polling")
    if _OF_EVENTS & set(refused):
        found.warn("store_without_streams", effect="GET /events tells of new documents alone")
    if _OF_JOURNAL & set(refused):
        effect = "the record takes whole documents in place of what each publish has changed"
        found.warn("store_without_journal", effect=effect)
    if "INFO" in refused:
        effect = "the journal may fill a store that has a maxmemory; JOURNAL_BYTES alone limits it"
        found.warn("store_without_info", effect=effect)
    if any("READONLY" in why for why in errors.values()):
        found.warn("store_read_only", advice="name the primary server, not a replica")
    await _look_at_server(store, found)
    return found


async def _look_at_server(store: HotStore, found: Inspection) -> None:
    try:
        text = await store.execute("INFO")
    except StoreRefused:
        return  # the user may not ask, or the service does not tell
    if not isinstance(text, bytes):
        return
    lines = (line.partition(":") for line in text.decode(errors="replace").splitlines())
    info = {name: value.strip() for name, _, value in lines}
    version = _VERSION.match(info.get("redis_version", ""))
    if version and (int(version[1]), int(version[2])) < OLDEST_VERSION:
        needed = ".".join(map(str, OLDEST_VERSION))
        found.warn("store_too_old", version=info["redis_version"], needed=needed)
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and info.get("maxmemory") != "0":
        effect = "documents may vanish" if policy.startswith("allkeys") else "leases may vanish"
        found.warn("store_may_evict", policy=policy, effect=effect, advice="set noeviction")


def _why_no_script(error: StoreRefused, prefix: str) -> str | None:
    """Why no script runs at all; None if that may pass."""
    text = str(error)
    match error.code:
        case "CROSSSLOT":
            return (
                "this is a cluster, where all keys must be in one slot: set REDIS_PREFIX to one "
                "with a {tag}, such as {perpcache}:"
            )
        case "MOVED":
            node = text.rpartition(" ")[2]
            return (
                f"this node of the cluster does not hold the keys of REDIS_PREFIX {prefix}: "
                f"name the node that does, {node}"
            )
        case "NOPERM" if command := _COMMAND.search(text):
            name = command[1].upper()
            return _without_rights("EVAL and EVALSHA" if name.startswith("EVAL") else name, prefix)
        case "NOPERM":
            return _without_rights(f"commands on keys {prefix}*", prefix)
        case _ if _NO_SCRIPTS.search(text):
            return "this server does not run scripts (EVAL), which Perpcache needs"
        case _:
            return None


def _without_rights(what: str, prefix: str) -> str:
    return (
        f"its user may not run {what}: give it the rights, "
        f"such as ACL SETUSER NAME ~{prefix}* &{prefix}* {RIGHTS}"
    )
