-- additive: the release before works beside this column; it neither reads nor writes it.
-- The exchange's time of the list that was last believed (UTC ms); null: not known. In discoveries
-- is the time of the machine that took it in, by which the next one is due.

ALTER TABLE listings ADD COLUMN seen_ms bigint;
