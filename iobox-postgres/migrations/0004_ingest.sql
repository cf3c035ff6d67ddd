  -- How far each source was read: one row, moved in the transaction that stores what was read.
  create table "{{schema}}"."{{prefix}}source" (
    name text collate pg_catalog."C" not null,
    -- Null when nothing was read yet.
    position text collate pg_catalog."C",
    moved_at timestamptz,
    constraint "{{prefix}}source_pkey" primary key (name)
  ) with (fillfactor = 50);
