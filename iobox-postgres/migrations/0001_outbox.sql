  -- The clock of everything; tests replace its body to shift time.
  create function "{{schema}}"."{{prefix}}clock"() returns pg_catalog.timestamptz
    language sql volatile parallel safe
    as 'select pg_catalog.clock_timestamp()';

  -- One row: what this store is, and what the SQL function must know of the program's settings.
  create table "{{schema}}"."{{prefix}}meta" (
    one boolean not null default true,
    origin uuid not null,
    partitions smallint not null,
    payload_max integer not null,
    wake_up boolean not null,
    constraint "{{prefix}}meta_pkey" primary key (one),
    constraint "{{prefix}}meta_one" check (one)
  );

  -- Who works a partition: written by acquisition and release alone, read FOR SHARE by every fence.
  create table "{{schema}}"."{{prefix}}partition" (
    queue text collate pg_catalog."C" not null,
    partition smallint not null,
    owner uuid,
    epoch bigint not null default 0,
    constraint "{{prefix}}partition_pkey" primary key (queue, partition)
  ) with (fillfactor = 50);

  -- Who is alive: the only rows that a renewal writes.
  create table "{{schema}}"."{{prefix}}instance" (
    queue text collate pg_catalog."C" not null,
    id uuid not null,
    started timestamptz not null,
    expires timestamptz not null,
    in_flight integer not null,
    constraint "{{prefix}}instance_pkey" primary key (queue, id)
  ) with (fillfactor = 50);

  create sequence "{{schema}}"."{{prefix}}message_seq" as bigint cache 1;
  create sequence "{{schema}}"."{{prefix}}replay_seq" as bigint cache 1;

  -- The messages. States: 0 pending, 1 retrying, 2 waiting, 3 dead, 4 done, 5 discarded.
  create table "{{schema}}"."{{prefix}}message" (
    seq bigint not null default pg_catalog.nextval('"{{schema}}"."{{prefix}}message_seq"'),
    enqueued_at timestamptz not null,
    due_at timestamptz,
    settled_at timestamptz,
    replay bigint,
    revision integer not null default 0,
    attempt integer not null default 0,
    crashes integer not null default 0,
    size integer not null,
    partition smallint not null,
    state smallint not null default 0,
    uncertain boolean not null default false,
    alone boolean not null default false,
    suspect boolean not null default false,
    halts boolean not null default false,
    absorbed boolean not null default false,
    id text collate pg_catalog."C" not null,
    topic text collate pg_catalog."C" not null,
    key text collate pg_catalog."C",
    reason text,
    headers text not null,
    payload bytea not null,
    constraint "{{prefix}}message_pkey" primary key (partition, seq) with (fillfactor = 50)
  ) with (
    -- Every message gets a second version, when it is done: room for it is left where the first one
    -- is, here and in the two indexes that list every version, so that no page is split for it.
    fillfactor = 50,
    -- What is done stays for the retention: vacuum by absolute numbers, since a fraction of a long
    -- history would let the dead entries of the small indexes pile up.
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_analyze_threshold = 5000
  );

  -- What is ready to run, oldest first.
  create index "{{prefix}}message_pending" on "{{schema}}"."{{prefix}}message" (partition, seq)
    where state = 0;
  -- What is due later.
  create index "{{prefix}}message_due" on "{{schema}}"."{{prefix}}message" (partition, due_at)
    where state = 1;
  -- What blocks later messages of its key.
  create index "{{prefix}}message_blocker" on "{{schema}}"."{{prefix}}message" (partition, key, seq)
    where key is not null and (state in (1, 2) or (state = 3 and halts));
  -- The dead letters, for people.
  create index "{{prefix}}message_dead" on "{{schema}}"."{{prefix}}message" (partition, seq)
    where state = 3;
  -- What purge removes, oldest first, and what was published since a time.
  create index "{{prefix}}message_settled" on "{{schema}}"."{{prefix}}message" (settled_at)
    where state in (4, 5);
  -- What a replay put back.
  create index "{{prefix}}message_replay" on "{{schema}}"."{{prefix}}message" (replay)
    where replay is not null;
  -- One message, for people.
  create index "{{prefix}}message_id" on "{{schema}}"."{{prefix}}message" (id)
    with (fillfactor = 50);

  -- The ids that callers brought, to recognise the second enqueue of the same message.
  create table "{{schema}}"."{{prefix}}id" (
    id text collate pg_catalog."C" not null,
    enqueued_at timestamptz not null,
    constraint "{{prefix}}id_pkey" primary key (id)
  );
  create index "{{prefix}}id_enqueued" on "{{schema}}"."{{prefix}}id" (enqueued_at);

  insert into "{{schema}}"."{{prefix}}meta" (origin, partitions, payload_max, wake_up)
    values (pg_catalog.gen_random_uuid(), {{partitions}}, {{payload_max}}, {{wake_up}});
  insert into "{{schema}}"."{{prefix}}partition" (queue, partition)
    select 'outbox', number from pg_catalog.generate_series(0, {{partitions}} - 1) as number;
