"""The job state machine as Lua scripts: request, take, progress, finish, hand back, abort, list.

A record is a hash; '' is null. The scripts name all keys in KEYS and do not use cjson, so they run
alike on Redis 6.2, Valkey and Upstash. Answers: 'ok', 'lost' (the caller does not hold the lease),
'aborted' (the run is no longer the caller's).

A job rests after each run: `rest_from` is the server's time in ms when its last run ended. The
server's clock alone counts here, so hosts need not agree on the time.

Each change of a run's state is told in the log of events, KEYS[1] of the scripts that make one.

Others may write to the store: a key of another type counts as absent and REQUEST replaces it, and
a field that is no number counts as 0.
"""

from typing import Final

from stores.hot.event_log import TELL
from stores.hot.leases import LONGEST_LEASE_MS

_LARGEST_FIELD: Final = 100_000  # bytes; a larger field counts as absent

# fields(job, names...): the fields, none of them from a key of another type.
# whole(text): the text as a whole number below 10^14, which Lua writes in digits; else 0.
# given(text): whether the field exists and is not ''.
# record(job): the known fields with their names, as HGETALL has them.
_RECORD: Final = f"""
local function fields(job, ...)
  local found = redis.pcall('HMGET', job, ...)
  return found.err and {{}} or found
end
local function whole(text)
  local n = tonumber(text or '')
  return n and n < 1e14 and n == math.floor(n) and math.max(n, 0) or 0
end
local function given(text) return text and text ~= '' end
local names = {{'state', 'run', 'seq', 'enqueued_at', 'started_at', 'finished_at', 'attempts',
  'phase', 'done', 'total', 'error', 'result', 'coalesced', 'rerun_seq', 'last_run', 'last_state',
  'last_as_of', 'last_finished_at', 'last_result', 'last_error', 'asked_by', 'failures'}}
local function record(job)
  local known, found = {{}}, fields(job, unpack(names))
  for i, name in ipairs(names) do
    if found[i] and #found[i] <= {_LARGEST_FIELD} then
      known[#known + 1] = name
      known[#known + 1] = found[i]
    end
  end
  return known
end
"""

# tell_job(job; run, state, as_of, error): tells that the run has come into this state.
# queued(job; seq, enqueued_at, run): writes a fresh record in state queued.
_QUEUED: Final = (
    _RECORD
    + TELL
    + """
local function tell_job(job, run, state, as_of, err)
  tell(KEYS[1], 'kind', 'job', 'job', job, 'run', run, 'state', state, 'as_of', as_of or '',
    'error', err or '')
end
local function queued(job, seq, at, run)
  redis.call('HSET', job, 'state', 'queued', 'run', run, 'seq', seq, 'enqueued_at', at,
    'started_at', '', 'finished_at', '', 'attempts', 0, 'phase', 'queued', 'done', 0, 'total', 0,
    'error', '', 'result', '', 'lease', '', 'coalesced', '', 'rerun_seq', '', 'rerun_at', '')
  redis.call('PERSIST', job)
end
"""
)

# A full store refuses a script's first write if that takes memory, but accepts later writes once
# one was accepted. Scripts that record a run's end or progress start with PERSIST, which takes no
# memory, so that a run which fails on a full store can still be recorded as failed.

# server_ms(): the server's time in ms.
# rest(from, rest_ms): ms until a job whose last run ended at `from` may start again. A clock that
# was set back ends the rest.
_REST: Final = """
local function server_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function rest(from, rest_ms)
  local since = server_ms() - whole(from)
  if since < 0 then return 0 end
  return math.max(rest_ms - since, 0)
end
"""

# ended(job; state, as_of, now, result, error, keep_s): ends the run and keeps it as `last`.
# `failures` counts the runs in a row that failed; one that was aborted says nothing of that.
# A complete run counts all its tasks as done, whatever was reported last.
# A requested rerun is queued at once; an abort ends the rerun too. Returns whether one was queued.
_ENDED: Final = (
    _QUEUED
    + _REST
    + """
local function ended(job, state, as_of, now, result, err, keep_s)
  redis.call('PERSIST', job)
  local r = fields(job, 'run', 'rerun_seq', 'rerun_at', 'lease', 'done', 'total', 'failures')
  local done = whole(state == 'complete' and r[6] or r[5])
  local run, wanted, failures = whole(r[1]), given(r[2]), whole(r[7])
  if state == 'failed' then failures = failures + 1 elseif state == 'complete' then failures = 0 end
  if wanted and state == 'aborted' then run = run + 1 end
  redis.call('HSET', job, 'last_run', run, 'last_state', state, 'last_as_of', as_of,
    'last_finished_at', now, 'last_result', result, 'last_error', err, 'last_lease', r[4] or '',
    'failures', failures)
  if r[4] and r[4] ~= '' then redis.call('HSET', job, 'rest_from', server_ms()) end
  if wanted and state ~= 'aborted' then
    queued(job, whole(r[2]), whole(r[3]), run + 1)
    tell_job(job, run, state, as_of, err)
    tell_job(job, run + 1, 'queued')
    return true
  end
  redis.call('HSET', job, 'state', state, 'run', run, 'phase', 'done', 'done', done,
    'finished_at', now, 'result', result, 'error', err, 'lease', '',
    'rerun_seq', '', 'rerun_at', '')
  redis.call('EXPIRE', job, keep_s)
  tell_job(job, run, state, as_of, err)
  return false
end
"""
)

# not_mine(lock, job; value, run): checks that the lease and the run are still the caller's.
# Returns nil if they are, else 'lost' or 'aborted'.
_MINE: Final = """
local function not_mine(lock, job, value, run)
  if redis.pcall('GET', lock) ~= value then return 'lost' end
  local r = fields(job, 'state', 'run', 'lease')
  if r[1] ~= 'active' or r[2] ~= run or r[3] ~= value then return 'aborted' end
end
"""

# request(log, job, counter; now, channel, id, by): queues the job, joins a queued run or notes a
# rerun. A counter that cannot be counted up starts again at 1. `by`: the run of a worker that asks;
# the first one of each run of the job is kept, as `<run>:<by>`.
# Returns {run that satisfies this request, record}.
REQUEST: Final = (
    _QUEUED
    + """
local r = redis.pcall('HMGET', KEYS[2], 'state', 'run', 'rerun_seq')
if r.err then
  redis.call('DEL', KEYS[2])
  r = {}
end
local state, run = r[1], math.max(r[1] and 1 or 0, whole(r[2]))
local function next_seq()
  local seq = redis.pcall('INCR', KEYS[3])
  if string.find(tostring(seq), '^[1-9]%d*$') then return seq end
  redis.call('SET', KEYS[3], 1)
  return 1
end
if state == 'queued' then
  redis.call('HSET', KEYS[2], 'coalesced', 1)
elseif state == 'active' then
  redis.call('HSET', KEYS[2], 'coalesced', 1)
  if not given(r[3]) then
    redis.call('HSET', KEYS[2], 'rerun_seq', next_seq(), 'rerun_at', ARGV[1])
  end
  run = run + 1
else
  run = run + 1
  queued(KEYS[2], next_seq(), ARGV[1], run)
  if ARGV[2] ~= '' then redis.pcall('PUBLISH', ARGV[2], ARGV[3]) end
  tell_job(KEYS[2], run, 'queued')
end
if ARGV[4] ~= '' then
  local of_run = string.format('%.0f:', run)
  local first = fields(KEYS[2], 'asked_by')[1] or ''
  if string.sub(first, 1, #of_run) ~= of_run then
    redis.call('HSET', KEYS[2], 'asked_by', of_run .. ARGV[4])
  end
end
return {run, record(KEYS[2])}
"""
)

# take(log, lock, jobs...; value, now, attempts allowed, keep_s, rest_ms): makes the next job
# active: one that is so already under this lease, else one left by a dead worker, else the oldest
# queued one that has rested.
# Returns {answer, its index among jobs or 0, record, ms until the next one has rested or -1}.
TAKE: Final = (
    _ENDED
    + """
if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then return {'lost', 0, {}, -1} end
local best, best_seq, orphan, soonest
for i = 3, #KEYS do
  local r = fields(KEYS[i], 'state', 'seq', 'rest_from', 'lease', 'attempts', 'run')
  local dead = r[1] == 'active' and r[4] ~= ARGV[1]
  if r[1] == 'active' and not dead then
    redis.call('HSET', KEYS[i], 'run', math.max(1, whole(r[6])))
    return {'ok', i - 2, record(KEYS[i]), -1}
  end
  if dead and whole(r[5]) >= tonumber(ARGV[3]) then
    local why = 'the worker died in each of ' .. whole(r[5]) .. ' attempts'
    dead = false
    if ended(KEYS[i], 'failed', '', ARGV[2], '', why, ARGV[4]) then
      r = fields(KEYS[i], 'state', 'seq', 'rest_from')
    end
  end
  local seq, left = whole(r[2]), dead and 0 or rest(r[3], ARGV[5])
  local better = not best or (dead and not orphan) or (dead == orphan and seq < best_seq)
  if left ~= 0 then
    if r[1] == 'queued' then soonest = math.min(soonest or left, left) end
  elseif (dead or r[1] == 'queued') and better then
    best, best_seq, orphan = i, seq, dead
  end
end
if not best then return {'ok', 0, {}, soonest or -1} end
local job = KEYS[best]
local r = fields(job, 'run', 'rerun_seq', 'attempts')
local run = math.max(1, whole(r[1])) + (given(r[2]) and 1 or 0)
redis.call('HSET', job, 'state', 'active', 'run', run, 'attempts', whole(r[3]) + 1,
  'rerun_seq', '', 'rerun_at', '', 'lease', ARGV[1], 'started_at', ARGV[2],
  'phase', 'markets', 'done', 0, 'total', 0)
tell_job(job, run, 'active')
return {'ok', best - 2, record(job), soonest or -1}
"""
)

# progress(lock, job; value, run, phase, done, total): stores the run's progress.
# Returns the answer.
PROGRESS: Final = (
    _RECORD
    + _MINE
    + """
local no = not_mine(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if no then return no end
redis.call('PERSIST', KEYS[2])
redis.call('HSET', KEYS[2], 'phase', ARGV[3], 'done', ARGV[4], 'total', ARGV[5])
return 'ok'
"""
)

# finish(log, lock, job; value, run, state, as_of, now, result, error, keep_s, channel, id): ends
# the run.
# Returns the answer; also 'ok' if the same lease has ended the same run before.
FINISH: Final = (
    _ENDED
    + _MINE
    + """
local r = fields(KEYS[3], 'last_run', 'last_lease', 'last_state')
if r[1] == ARGV[2] and r[2] == ARGV[1] and r[3] == ARGV[3] then return 'ok' end
local no = not_mine(KEYS[2], KEYS[3], ARGV[1], ARGV[2])
if no then return no end
if ended(KEYS[3], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]) and ARGV[9] ~= '' then
  redis.pcall('PUBLISH', ARGV[9], ARGV[10])
end
return 'ok'
"""
)

# hand_back(log, lock, job; value, run, channel, id): queues the run again at its old place.
# Returns the answer. The run will start over, so it also satisfies a requested rerun.
HAND_BACK: Final = (
    _QUEUED
    + _MINE
    + """
local no = not_mine(KEYS[2], KEYS[3], ARGV[1], ARGV[2])
if no then return no end
local r = fields(KEYS[3], 'run', 'rerun_seq', 'seq', 'enqueued_at', 'attempts')
local run = whole(r[1])
if given(r[2]) then run = run + 1 end
redis.call('PERSIST', KEYS[3])
queued(KEYS[3], whole(r[3]), whole(r[4]), run)
redis.call('HSET', KEYS[3], 'attempts', math.max(0, whole(r[5]) - 1))
if ARGV[3] ~= '' then redis.pcall('PUBLISH', ARGV[3], ARGV[4]) end
tell_job(KEYS[3], run, 'queued')
return 'ok'
"""
)

# abort(log, job; now, keep_s): ends a queued or active run without a result.
# Returns the record, which is empty if there is none.
ABORT: Final = (
    _ENDED
    + """
local state = fields(KEYS[2], 'state')[1]
if state == 'queued' or state == 'active' then
  ended(KEYS[2], 'aborted', '', ARGV[1], '', '', ARGV[2])
end
return record(KEYS[2])
"""
)

# list(jobs...): reads all records.
# Returns a record for each key, which is empty if there is none.
LIST: Final = (
    _RECORD
    + """
local records = {}
for i = 1, #KEYS do records[i] = record(KEYS[i]) end
return records
"""
)

# look(k, a): what the lanes have to do, without changing anything. From KEYS[k]: lock and jobs of
# each lane. From ARGV[a]: rest_ms, then how many keys each lane has.
# Returns for each lane the ms until one of its jobs may start: 0 if one may now, the time left of
# the lock if another process holds it, -1 if no job is queued or active. A lock that does not
# expire, or not soon, is no lease: whoever acquires it gives it an expiry.
LOOK: Final = (
    _RECORD
    + _REST
    + f"""
local function look(k, a)
  local answers, rest_ms = {{}}, ARGV[a]
  for lane = a + 1, #ARGV do
    local last, soonest = k + ARGV[lane] - 1, nil
    for i = k + 1, last do
      local r = fields(KEYS[i], 'state', 'rest_from')
      if r[1] == 'queued' or r[1] == 'active' then
        local left = r[1] == 'queued' and rest(r[2], rest_ms) or 0
        soonest = math.min(soonest or left, left)
      end
    end
    local held = redis.call('PTTL', KEYS[k])
    if soonest and held <= {LONGEST_LEASE_MS} then soonest = math.max(soonest, held) end
    answers[#answers + 1], k = soonest or -1, last + 1
  end
  return answers
end
"""
)
HAS_WORK: Final = LOOK + "return look(1, 1)"
