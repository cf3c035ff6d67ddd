  -- The messages of the outbox become a log. State 6, logged: pending as long as the cursor of the
  -- partition has not taken it, done from then on; no write to the row says so. Rows with any other
  -- state are apart from the log: what they are stands in their state, as before.

  -- The transaction that enqueued a message. Those from before the log are apart from it.
  alter table "{{schema}}"."{{prefix}}message"
    add column xid xid8 not null default '3',
    alter column xid set default pg_catalog.pg_current_xact_id(),
    alter column state set default 6,
    -- There is no second version any more that room should be left for.
    set (fillfactor = 100);
  alter index "{{schema}}"."{{prefix}}message_pkey" reset (fillfactor);
  alter index "{{schema}}"."{{prefix}}message_id" reset (fillfactor);

  -- What was committed late, with a seq that the cursor had gone past. By an expression, so that no
  -- statement is planned with this index but those that are meant for it.
  create index "{{prefix}}message_xid" on "{{schema}}"."{{prefix}}message"
    ((partition::integer), xid, seq) where state = 6;

  -- How far each partition is done: the logged rows that were visible in the snapshot `seen` and have a
  -- seq up to `upto`, but for those of `behind`, and those of `ahead`, of which `ahead_xids` has the
  -- transactions. Of the parked keys the logged rows from the first to the last wait.
  create table "{{schema}}"."{{prefix}}cursor" (
    partition smallint not null,
    seen pg_snapshot not null,
    upto bigint not null,
    -- How often messages of the log were changed by a person, or left it in a settlement.
    changes bigint not null default 0,
    behind bigint[] not null default '{}',
    ahead bigint[] not null default '{}',
    ahead_xids xid8[] not null default '{}',
    parked_keys text[] collate pg_catalog."C" not null default '{}',
    parked_first bigint[] not null default '{}',
    parked_last bigint[] not null default '{}',
    constraint "{{prefix}}cursor_pkey" primary key (partition)
  ) with (
    fillfactor = 20,
    toast_tuple_target = 8160,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500
  );
  alter table "{{schema}}"."{{prefix}}cursor"
    alter column ahead set storage external,
    alter column ahead_xids set storage external;
  insert into "{{schema}}"."{{prefix}}cursor" (partition, seen, upto)
    select number, pg_catalog.pg_current_snapshot(), 0
    from pg_catalog.generate_series(0, {{partitions}} - 1) as number;

  -- When logged rows were done: one row for each settlement of a partition, with the seqs of it.
  create table "{{schema}}"."{{prefix}}settled" (
    at timestamptz not null,
    first bigint not null,
    last bigint not null,
    partition smallint not null,
    seqs bigint[] not null,
    constraint "{{prefix}}settled_pkey" primary key (partition, first)
  ) with (
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_analyze_threshold = 5000
  );
  create index "{{prefix}}settled_at" on "{{schema}}"."{{prefix}}settled" (at);

  -- The messages with their states by name, for people.
  create view "{{schema}}"."{{prefix}}outbox" as
    select m.partition, m.seq, m.id, m.topic, m.key,
      case {shown}
        when 0 then 'pending' when 1 then 'retrying' when 2 then 'waiting' when 3 then 'dead'
        when 4 then 'done' when 5 then 'discarded' end as state,
      m.attempt, m.uncertain, m.halts, m.reason, m.enqueued_at, m.due_at, m.settled_at
    from "{{schema}}"."{{prefix}}message" as m;

  -- The cluster whose transactions the log and the cursor speak of.
  alter table "{{schema}}"."{{prefix}}meta" add column cluster bigint;
