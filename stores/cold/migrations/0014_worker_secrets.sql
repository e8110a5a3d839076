-- additive: the release before works beside this table; it neither reads nor writes it.
-- The values of keys that a worker's configuration declares secret; worker_config has "***" in their
-- place. Who may not write them cannot read them either, such as a role with pg_read_all_data.

CREATE TABLE worker_secret (
    worker text COLLATE "C",                    -- null: shared
    key text COLLATE "C" NOT NULL,
    value json NOT NULL
);
CREATE UNIQUE INDEX worker_secret_key ON worker_secret (coalesce(worker, ''), key);
ALTER TABLE worker_secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY worker_secret_writers ON worker_secret
    USING (has_table_privilege('worker_secret'::regclass, 'INSERT'));
