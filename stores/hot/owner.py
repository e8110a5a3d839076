"""The owner record: which exchanges' data the keys of a prefix hold, so that two never mix.

`perpcache:owner` is a hash: the address of each exchange, and `INSTALLATION_ID` if one was set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from stores.hot.replies import list_of, text
from stores.hot.store import HotStore, StoreRefused
from texts.foreign import foreign_text

OWNER_KEY: Final = "perpcache:owner"
_ID: Final = "INSTALLATION_ID"
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_LONGEST: Final = 100  # characters of another's value in a message

# claim(owner; field, value...): adds our fields to the record, or finds one that differs. A field
# that only one of us has is no difference, except an INSTALLATION_ID that we lack. A record of
# another type is replaced.
# Returns {the differing field or '', its value, the write error or ''}.
_CLAIM: Final = f"""
local stored = redis.pcall('HGETALL', KEYS[1])
if stored.err then
  redis.call('DEL', KEYS[1])
  stored = {{}}
end
local theirs, ours, new = {{}}, {{}}, {{}}
for i = 1, #stored, 2 do if stored[i + 1] ~= '' then theirs[stored[i]] = stored[i + 1] end end
for i = 1, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  if theirs[field] and theirs[field] ~= value then return {{field, theirs[field], ''}} end
  if not theirs[field] then new[#new + 1] = field; new[#new + 1] = value end
  ours[field] = value
end
if theirs['{_ID}'] and not ours['{_ID}'] then return {{'{_ID}', theirs['{_ID}'], ''}} end
if #new == 0 then return {{'', '', ''}} end
local written = redis.pcall('HSET', KEYS[1], unpack(new))
return {{'', '', type(written) == 'table' and written.err or ''}}
"""


@dataclass(frozen=True, slots=True)
class OtherOwner:
    """The keys belong to others: `field` of their record, its value and ours (None: we have none).

    `field` is an exchange, or None for the INSTALLATION_ID.
    """

    field: str | None
    theirs: str
    ours: str | None


async def claim(
    store: HotStore, addresses: Mapping[str, str], installation_id: str | None
) -> OtherOwner | None:
    """Records us as the owner of the store's keys, in one step; returns who else owns them.

    `addresses`: of our exchanges, without passwords. Raises StoreUnavailable; StoreRefused if the
    record cannot be written.
    """
    ours = {exchange: _comparable(address) for exchange, address in addresses.items()}
    if installation_id:
        ours[_ID] = installation_id
    arguments = [word for pair in ours.items() for word in pair]
    field, theirs, refusal = (
        word.decode(errors="replace")
        for word in await store.script("claim", _CLAIM).run(
            [OWNER_KEY], arguments, reply=list_of(text, 3)
        )
    )
    if refusal:
        reason = refusal.removeprefix("-")
        raise StoreRefused(
            f"the owner record cannot be written: {reason}", reason.partition(" ")[0]
        )
    if not field:
        return None
    shown = foreign_text(theirs.rpartition("@")[2], _LONGEST)  # without a user and password
    return OtherOwner(None if field == _ID else field, shown, ours.get(field))


def _comparable(address: str) -> str:
    """The address with its scheme and host in lower case, without a default port."""
    parts = urlsplit(address)
    host = (
        parts.netloc.rpartition("@")[2].lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))
    )
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")
