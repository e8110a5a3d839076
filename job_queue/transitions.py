"""The job state machine as Lua scripts: request, take, progress, finish, hand back, abort, list.

A record is a hash; '' is null. The scripts name all keys in KEYS and use neither cjson nor the
server's clock, so they run alike on Redis 6.2, Valkey and Upstash. Answers: 'ok', 'lost' (the
caller does not hold the lease), 'aborted' (the run is no longer the caller's).
"""

from typing import Final

# queued(job; seq, enqueued_at, run): writes a fresh record in state queued.
_QUEUED: Final = """
local function queued(job, seq, at, run)
  redis.call('HSET', job, 'state', 'queued', 'run', run, 'seq', seq, 'enqueued_at', at,
    'started_at', '', 'finished_at', '', 'attempts', 0, 'phase', 'queued', 'done', 0, 'total', 0,
    'error', '', 'result', '', 'lease', '', 'coalesced', '', 'rerun_seq', '', 'rerun_at', '')
  redis.call('PERSIST', job)
end
"""

# A full store refuses a script's first write if that takes memory, but accepts later writes once
# one was accepted. Scripts that record a run's end or progress start with PERSIST, which takes no
# memory, so that a run which fails on a full store can still be recorded as failed.

# ended(job; state, as_of, now, result, error, keep_s): ends the run and keeps it as `last`.
# A complete run counts all its tasks as done, whatever was reported last.
# A requested rerun is queued at once; an abort ends the rerun too. Returns whether one was queued.
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

# not_mine(lock, job; value, run): checks that the lease and the run are still the caller's.
# Returns nil if they are, else 'lost' or 'aborted'.
_MINE: Final = """
local function not_mine(lock, job, value, run)
  if redis.call('GET', lock) ~= value then return 'lost' end
  local r = redis.call('HMGET', job, 'state', 'run', 'lease')
  if r[1] ~= 'active' or r[2] ~= run or r[3] ~= value then return 'aborted' end
end
"""

# request(job, counter; now, channel, id): queues the job, joins a queued run, or notes a rerun.
# Returns {run that satisfies this request, record}.
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

# take(lock, jobs...; value, now, attempts allowed, keep_s): makes the next job active. The order
# is: already active under this lease, left by a dead worker, oldest queued.
# Returns {answer, its index among jobs or 0, record}.
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

# progress(lock, job; value, run, phase, done, total): stores the run's progress.
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
# Returns the answer; also 'ok' if the same lease has ended the same run before.
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

# hand_back(lock, job; value, run, channel, id): queues the run again at its old place.
# Returns the answer. The run will start over, so it also satisfies a requested rerun.
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
# Returns the record, which is empty if there is none.
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

# list(jobs...): reads all records.
# Returns a record for each key, which is empty if there is none.
LIST: Final = """
local records = {}
for i = 1, #KEYS do records[i] = redis.call('HGETALL', KEYS[i]) end
return records
"""

# has_work({lock, jobs...} of each lane; number of keys of each lane): whether the lane's lock is
# free and one of its jobs is queued or active. Returns 1 or 0 for each lane.
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
