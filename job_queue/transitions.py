"""Every decision about a job, one Lua script each: queued, joined, taken, ended, handed back.

A record is a hash; '' is null. They name all keys in KEYS and use neither cjson nor the server's
clock, so they run alike on Redis 6.2, Valkey and Upstash. Answers that begin with a word:
'ok', 'lost' (the lease is not the caller's), 'aborted' (the run is no longer the caller's).
"""

from typing import Final

# queued(job; seq, enqueued_at, run): a fresh record that waits for a worker.
_QUEUED: Final = """
local function queued(job, seq, at, run)
  redis.call('HSET', job, 'state', 'queued', 'run', run, 'seq', seq, 'enqueued_at', at,
    'started_at', '', 'finished_at', '', 'attempts', 0, 'phase', 'queued', 'done', 0, 'total', 0,
    'error', '', 'result', '', 'lease', '', 'coalesced', '', 'rerun_seq', '', 'rerun_at', '')
  redis.call('PERSIST', job)
end
"""

# A full store refuses a script's first write if that takes memory, and takes the rest once
# another was done. What tells of runs (a few hundred bytes for each of a dozen jobs) begins with
# one that takes none: a run that fails because the store is full has to be able to say so.

# ended(job; state, as_of, now, result, error, keep_s): the run is over and is kept as `last`.
# One that is complete has done all its tasks, whatever was reported last.
# A rerun that is wanted is queued at once, unless it was aborted with the run: then both ended.
_ENDED: Final = (
    _QUEUED
    + """
local function ended(job, state, as_of, now, result, err, keep_s)
  redis.call('PERSIST', job)
  local r = redis.call('HMGET', job, 'run', 'rerun_seq', 'rerun_at', 'lease', 'done', 'total')
  local done = state == 'complete' and r[6] or r[5] or 0
  local run, wanted = tonumber(r[1]), r[2] and r[2] ~= ''
  if wanted and state == 'aborted' then run = run + 1 end
  redis.call('HSET', job, 'last_run', run, 'last_state', state, 'last_as_of', as_of,
    'last_finished_at', now, 'last_result', result, 'last_error', err, 'last_lease', r[4] or '')
  if wanted and state ~= 'aborted' then
    queued(job, r[2], r[3], run + 1)
    return true
  end
  redis.call('HSET', job, 'state', state, 'run', run, 'phase', 'done', 'done', done,
    'finished_at', now, 'result', result, 'error', err, 'lease', '',
    'rerun_seq', '', 'rerun_at', '')
  redis.call('EXPIRE', job, keep_s)
  return false
end
"""
)

# mine(lock, job; value, run): whether the lease and the run are still the caller's.
# Returns nil when they are, else the word to answer.
_MINE: Final = """
local function not_mine(lock, job, value, run)
  if redis.call('GET', lock) ~= value then return 'lost' end
  local r = redis.call('HMGET', job, 'state', 'run', 'lease')
  if r[1] ~= 'active' or r[2] ~= run or r[3] ~= value then return 'aborted' end
end
"""

# request(job, counter; now, channel, id): queues a wish, or joins the one that stands.
# Returns {run that answers this request, record}.
REQUEST: Final = (
    _QUEUED
    + """
local r = redis.call('HMGET', KEYS[1], 'state', 'run', 'rerun_seq')
local state, run = r[1], tonumber(r[2] or '0')
if state == 'queued' then
  redis.call('HSET', KEYS[1], 'coalesced', 1)
elseif state == 'active' then
  redis.call('HSET', KEYS[1], 'coalesced', 1)
  if r[3] == '' then
    local seq = redis.call('INCR', KEYS[2])
    redis.call('HSET', KEYS[1], 'rerun_seq', seq, 'rerun_at', ARGV[1])
  end
  run = run + 1
else
  run = run + 1
  queued(KEYS[1], redis.call('INCR', KEYS[2]), ARGV[1], run)
  if ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
end
return {run, redis.call('HGETALL', KEYS[1])}
"""
)

# take(lock, jobs...; value, now, deaths allowed, keep_s): the next job becomes active.
# Returns {answer, its place among jobs or 0, record}: mine again, a dead worker's, oldest queued.
TAKE: Final = (
    _ENDED
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost', 0, {}} end
local best, best_seq, orphan
for i = 2, #KEYS do
  local r = redis.call('HMGET', KEYS[i], 'state', 'lease', 'seq', 'attempts')
  local dead = r[1] == 'active' and r[2] ~= ARGV[1]
  if r[1] == 'active' and not dead then
    return {'ok', i - 1, redis.call('HGETALL', KEYS[i])}
  end
  if dead and tonumber(r[4]) >= tonumber(ARGV[3]) then
    local why = 'the worker died in each of ' .. r[4] .. ' attempts'
    dead = false
    if ended(KEYS[i], 'failed', '', ARGV[2], '', why, ARGV[4]) then
      r = redis.call('HMGET', KEYS[i], 'state', 'lease', 'seq', 'attempts')
    end
  end
  local seq = tonumber(r[3] or '0')
  local better = not best or (dead and not orphan) or (dead == orphan and seq < best_seq)
  if (dead or r[1] == 'queued') and better then best, best_seq, orphan = i, seq, dead end
end
if not best then return {'ok', 0, {}} end
local job = KEYS[best]
local r = redis.call('HMGET', job, 'run', 'rerun_seq')
if r[2] ~= '' then
  redis.call('HSET', job, 'run', tonumber(r[1]) + 1, 'rerun_seq', '', 'rerun_at', '')
end
redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSET', job, 'state', 'active', 'lease', ARGV[1], 'started_at', ARGV[2],
  'phase', 'markets', 'done', 0, 'total', 0)
return {'ok', best - 1, redis.call('HGETALL', job)}
"""
)

# progress(lock, job; value, run, phase, done, total): where the run is.
# Returns the answer.
PROGRESS: Final = (
    _MINE
    + """
local no = not_mine(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if no then return no end
redis.call('PERSIST', KEYS[2])
redis.call('HSET', KEYS[2], 'phase', ARGV[3], 'done', ARGV[4], 'total', ARGV[5])
return 'ok'
"""
)

# finish(lock, job; value, run, state, as_of, now, result, error, keep_s, channel, id): ends it.
# Returns the answer; 'ok' too when this very run was ended by this very lease before.
FINISH: Final = (
    _ENDED
    + _MINE
    + """
local r = redis.call('HMGET', KEYS[2], 'last_run', 'last_lease', 'last_state')
if r[1] == ARGV[2] and r[2] == ARGV[1] and r[3] == ARGV[3] then return 'ok' end
local no = not_mine(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if no then return no end
if ended(KEYS[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]) and ARGV[9] ~= '' then
  redis.call('PUBLISH', ARGV[9], ARGV[10])
end
return 'ok'
"""
)

# hand_back(lock, job; value, run, channel, id): the run waits for another worker, at its place.
# Returns the answer. It starts anew, so it also answers whoever wanted a rerun.
HAND_BACK: Final = (
    _QUEUED
    + _MINE
    + """
local no = not_mine(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if no then return no end
local r = redis.call('HMGET', KEYS[2], 'run', 'rerun_seq', 'seq', 'enqueued_at', 'attempts')
local run = tonumber(r[1])
if r[2] ~= '' then run = run + 1 end
redis.call('PERSIST', KEYS[2])
queued(KEYS[2], r[3], r[4], run)
redis.call('HSET', KEYS[2], 'attempts', tonumber(r[5]) - 1)
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
return 'ok'
"""
)

# abort(job; now, keep_s): ends a queued or active run without a result.
# Returns the record; an empty one when there is none.
ABORT: Final = (
    _ENDED
    + """
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'queued' or state == 'active' then
  ended(KEYS[1], 'aborted', '', ARGV[1], '', '', ARGV[2])
end
return redis.call('HGETALL', KEYS[1])
"""
)

# list(jobs...): all records in one command.
# Returns a record for each key; an empty one where there is none.
LIST: Final = """
local records = {}
for i = 1, #KEYS do records[i] = redis.call('HGETALL', KEYS[i]) end
return records
"""

# has_work({lock, jobs...} of each lane; keys of each lane): whether a worker that took a lane's
# free lock would find something to do. Returns 1 or 0 for each lane.
HAS_WORK: Final = """
local answers, lock = {}, 1
for lane = 1, #ARGV do
  local last, found = lock + ARGV[lane] - 1, 0
  if redis.call('EXISTS', KEYS[lock]) == 0 then
    for i = lock + 1, last do
      local state = redis.call('HGET', KEYS[i], 'state')
      if state == 'queued' or state == 'active' then found = 1 end
    end
  end
  answers[lane], lock = found, last + 1
end
return answers
"""
