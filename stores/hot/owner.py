"""The owner record: which exchanges' data the keys of a prefix hold, so that two never mix.

`perpcache:owner` is a hash: the address of each exchange, `INSTALLATION_ID` if one was set, and the
settings that decide what the documents hold, as the last process to start had them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from stores.hot.replies import WrongShape, list_of, text
from stores.hot.store import HotStore, StoreRefused
from texts.foreign import foreign_text

OWNER_KEY: Final = "perpcache:owner"
_ID: Final = "INSTALLATION_ID"
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_LONGEST: Final = 100  # characters of another's value in a message

# Settings that decide what the documents hold. Where one of those in _TOLD differs, both serve the
# documents of either, of another size; where another differs, they would serve what they are not.
_QUOTE: Final = "QUOTE"
_EXCHANGES: Final = "EXCHANGES"
_TOLD: Final = (_EXCHANGES, "MARKETS_LIMIT", "HISTORY_CANDLES", "FUNDING_HISTORY", "TRADE_COLUMNS")

# claim(owner; mode, own, field, value...): adds our fields to the record, or finds one that
# differs. A field that only one of us has is no difference, except an INSTALLATION_ID that we lack,
# which is found last; the record of a release that knows no EXCHANGES has those of its addresses.
# A record of another type is replaced. `mode` is one of Mode; `own` is '1' or ''.
# Returns {the differing field or '', its value, the write error or '', then each field of ours that
# differs and may, with its value before}.
_CLAIM: Final = f"""
local stored = redis.pcall('HGETALL', KEYS[1])
if stored.err then
  redis.call('DEL', KEYS[1])
  stored = {{}}
end
local mode, own = ARGV[1], ARGV[2] == '1'
local shapes, may_differ = {{{_QUOTE} = true}}, {{{_QUOTE} = own}}
for name in string.gmatch('{",".join(_TOLD)}', '[^,]+') do
  shapes[name], may_differ[name] = true, true
end
local theirs, ours, new, told, exchanges = {{}}, {{}}, {{}}, {{}}, ''
for i = 1, #stored, 2 do
  if stored[i + 1] ~= '' then theirs[stored[i]] = stored[i + 1] end
  if string.find(stored[i], '^%l') then exchanges = exchanges .. ',' .. stored[i] end
end
for i = 3, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  local is_new = not theirs[field] and not (shapes[field] and mode == 'read')
  if theirs[field] and theirs[field] ~= value then
    if not may_differ[field] then return {{field, theirs[field], ''}} end
    told[#told + 1] = field; told[#told + 1] = theirs[field]
    is_new = mode == 'start'
  end
  if is_new then new[#new + 1] = field; new[#new + 1] = value end
  ours[field] = value
end
exchanges = theirs['{_EXCHANGES}'] or string.sub(exchanges, 2)
local any, common = false, own or not ours['{_EXCHANGES}']
for name in string.gmatch(exchanges, '[^,]+') do any, common = true, common or ours[name] end
if any and not common then return {{'{_EXCHANGES}', exchanges, ''}} end
if theirs['{_ID}'] and not ours['{_ID}'] then return {{'{_ID}', theirs['{_ID}'], ''}} end
local written = {{}}
if #new > 0 then written = redis.pcall('HSET', KEYS[1], unpack(new)) end
return {{'', '', type(written) == 'table' and written.err or '', unpack(told)}}
"""
Mode = Literal["start", "keep", "read"]


@dataclass(frozen=True, slots=True)
class OtherOwner:
    """The keys belong to others: `field` of their record, its value and ours (None: we have none).

    `field` is an exchange, QUOTE or EXCHANGES, or None for the INSTALLATION_ID.
    """

    field: str | None
    theirs: str
    ours: str | None

    @property
    def lacks_id(self) -> bool:
        """Whether all that differs is that they have an INSTALLATION_ID, and we have none."""
        return self.field is None and self.ours is None


@dataclass(frozen=True, slots=True)
class Installation:
    """What we record: the addresses of our exchanges, without passwords, our INSTALLATION_ID if one
    is set, and by name the settings that decide what the documents hold."""

    addresses: Mapping[str, str]
    installation_id: str | None = None
    shape: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """Who else owns the keys, if anybody; and those of our settings that differ from the recorded
    ones and may, with the recorded value."""

    other: OtherOwner | None = None
    differing: Mapping[str, str] = field(default_factory=dict)


async def claim(
    store: HotStore, ours: Installation, *, mode: Mode = "keep", own: bool = False
) -> Claim:
    """Records us as the owner of the store's keys, in one step.

    `mode`: `start` replaces recorded settings that differ and may, so that they are told once;
    `keep` leaves them; `read`, of a process that writes no documents, records no settings. `own`:
    nobody else can use the store, so that other settings are new ones of ours. Raises
    StoreUnavailable; StoreRefused if the record cannot be written.
    """
    fields = {name: _comparable(address) for name, address in ours.addresses.items()}
    if ours.installation_id:
        fields[_ID] = ours.installation_id
    fields |= ours.shape
    arguments = [word for pair in fields.items() for word in pair]
    name, theirs, refusal, *told = (
        word.decode(errors="replace")
        for word in await store.script("claim", _CLAIM).run(
            [OWNER_KEY], [mode, "1" if own else "", *arguments], reply=_answer
        )
    )
    if refusal:
        reason = refusal.removeprefix("-")
        raise StoreRefused(
            f"the owner record cannot be written: {reason}", reason.partition(" ")[0]
        )
    if name:
        shown = foreign_text(theirs.rpartition("@")[2], _LONGEST)  # without a user and password
        return Claim(OtherOwner(None if name == _ID else name, shown, fields.get(name)))
    values = (foreign_text(value, _LONGEST) for value in told[1::2])
    return Claim(differing=dict(zip(told[::2], values, strict=True)))


def _answer(reply: Any) -> list[bytes]:
    """The script's reply: three texts, and pairs of texts."""
    texts = list_of(text)(reply)
    if len(texts) < 3 or len(texts) % 2 == 0:
        raise WrongShape(reply, "three texts, then pairs of them")
    return texts


def _comparable(address: str) -> str:
    """The address with its scheme and host in lower case, without a default port."""
    parts = urlsplit(address)
    host = (
        parts.netloc.rpartition("@")[2].lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))
    )
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")
