-- additive: the release before works beside these tables; it neither reads nor writes them.
-- The collectors of live data: what the files of COLLECTORS say, and what was asked for over HTTP.
-- Values of the type json are ASCII, with escapes, so that a database of any encoding holds them.

CREATE TABLE live_collector_files (
    path text COLLATE "C" PRIMARY KEY,          -- as it is set, absolute; ASCII, with escapes
    modified_ms bigint NOT NULL,                -- of the newest copy of the file that was read
    collectors json NOT NULL,                   -- what this copy says: a list of collectors
    read_ms bigint NOT NULL                     -- when a process last said that it has the file
);

CREATE TABLE live_collectors (
    name text COLLATE "C" PRIMARY KEY,
    enabled boolean,                            -- null: as the file says
    running boolean NOT NULL DEFAULT true,      -- false: stopped until it is started
    added json NOT NULL DEFAULT '{}',           -- symbols beside the file's, with the exchange's name
    removed json NOT NULL DEFAULT '[]',         -- the exchange's names of symbols left out
    restarts bigint NOT NULL DEFAULT 0,         -- how often a restart was asked for
    changed_ms bigint NOT NULL
);
