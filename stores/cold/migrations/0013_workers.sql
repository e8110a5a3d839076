-- additive: the release before works beside these tables; it neither reads nor writes them.
-- Workers and their schedules, runs, log, configuration and queues; and what collections brought.
-- Times are UTC ms. Values of the type json are ASCII, with escapes, so that a database of any
-- encoding holds them. Worker runs and the log are partitioned by month (UTC), made ahead.

CREATE TABLE worker (
    name text COLLATE "C" PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,             -- schedule, websocket
    origin text COLLATE "C" NOT NULL,           -- code: comes with Perpcache; user: of WORKERS
    cron text COLLATE "C",                      -- five fields, or null
    every_s integer,                            -- seconds, aligned to the epoch; one of the two
    offset_s integer NOT NULL DEFAULT 0,        -- after what every_s says
    tz text COLLATE "C" NOT NULL,               -- IANA name, for cron
    queue text COLLATE "C" NOT NULL,
    egress text COLLATE "C" NOT NULL,           -- any, or an EGRESS_ID
    timeout_s double precision NOT NULL,
    max_attempts integer NOT NULL,
    on_missed text COLLATE "C" NOT NULL,        -- one, skip
    enabled boolean NOT NULL,
    next_run bigint,                            -- null: never, or not a schedule
    declared json NOT NULL,                     -- what the code says, and what GET tells of it
    overrides json NOT NULL DEFAULT '{}',       -- what an operator has set, by column
    changed_at bigint NOT NULL,
    changed_by text COLLATE "C" NOT NULL        -- code, or who asked
);

CREATE TABLE worker_config (
    worker text COLLATE "C",                    -- null: shared
    key text COLLATE "C" NOT NULL,
    value json NOT NULL,
    changed_at bigint NOT NULL,
    changed_by text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX worker_config_key ON worker_config (coalesce(worker, ''), key);

CREATE TABLE worker_queue (
    name text COLLATE "C" PRIMARY KEY,
    concurrency integer,                        -- runs at once over all hosts; null: no limit
    paused_until bigint                         -- null: not paused
);

-- The slot is the instant of the schedule, or for other reasons that of the asking.
CREATE SEQUENCE worker_run_id;
CREATE TABLE worker_run (
    id bigint NOT NULL DEFAULT nextval('worker_run_id'),
    worker text COLLATE "C" NOT NULL,
    slot bigint NOT NULL,
    why text COLLATE "C" NOT NULL,              -- schedule, force, retry, part
    state text COLLATE "C" NOT NULL,            -- queued, running, complete, failed, aborted, coalesced
    queue text COLLATE "C" NOT NULL,
    input json,                                 -- of a part of other work
    job_id bigint,                              -- of the engine
    attempts integer NOT NULL DEFAULT 0,
    claim uuid,                                 -- of the attempt that may write
    host text COLLATE "C",
    egress text COLLATE "C",
    queued_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    error text COLLATE "C",
    result json,
    PRIMARY KEY (worker, slot)
) PARTITION BY RANGE (slot);
CREATE INDEX worker_run_of_id ON worker_run (id);
CREATE INDEX worker_run_in_time ON worker_run (slot, id);
CREATE INDEX worker_run_open ON worker_run (worker) WHERE state IN ('queued', 'running');

CREATE SEQUENCE execution_log_id;
CREATE TABLE execution_log (
    id bigint NOT NULL DEFAULT nextval('execution_log_id'),
    at bigint NOT NULL,
    worker text COLLATE "C" NOT NULL,
    run bigint,
    host text COLLATE "C" NOT NULL,
    level text COLLATE "C" NOT NULL,            -- debug, info, warning, error, critical
    event text COLLATE "C" NOT NULL,
    fields json NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX execution_log_of_worker ON execution_log (worker, at, id);
CREATE INDEX execution_log_of_run ON execution_log (run, id);
CREATE INDEX execution_log_in_time ON execution_log (at, id);

CREATE TABLE data_collections (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,             -- of the job: collect, funding, ...
    subject text COLLATE "C" NOT NULL,          -- the job's id, such as collect:5m
    run bigint NOT NULL,                        -- of the job
    worker_run bigint,                          -- that asked for it, where one did
    started_at bigint NOT NULL,
    finished_at bigint NOT NULL,
    state text COLLATE "C" NOT NULL,            -- complete, failed
    records bigint NOT NULL,                    -- rows that were saved
    requests bigint NOT NULL,
    host text COLLATE "C" NOT NULL,
    details json NOT NULL
);
CREATE INDEX data_collections_in_time ON data_collections (finished_at, id);
CREATE UNIQUE INDEX data_collections_of_run ON data_collections (subject, run, finished_at);

CREATE TABLE failure_logs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    source text COLLATE "C" NOT NULL,           -- an exchange, a provider, a worker, a store
    subject text COLLATE "C" NOT NULL,          -- the job, worker or endpoint
    market text COLLATE "C",                    -- exchange:SYMBOL, where it is one market's
    cause text COLLATE "C" NOT NULL,
    count integer NOT NULL DEFAULT 1            -- of the same kind in the same run
);
CREATE INDEX failure_logs_in_time ON failure_logs (at, id);
