  -- Handlers that were ever subscribed. The rows of number n have the partitions from 256 * n on.
  create table "{{schema}}"."{{prefix}}handler" (
    number smallint not null,
    name text collate pg_catalog."C" not null,
    constraint "{{prefix}}handler_pkey" primary key (number),
    constraint "{{prefix}}handler_name" unique (name),
    constraint "{{prefix}}handler_number" check (number between 1 and 127)
  );

  -- Who gets the messages of which topics.
  create table "{{schema}}"."{{prefix}}subscription" (
    pattern text collate pg_catalog."C" not null,
    handler smallint not null,
    constraint "{{prefix}}subscription_pkey" primary key (pattern, handler)
  );

  -- One row, read FOR SHARE by every reception and changed with every change of the subscriptions.
  create table "{{schema}}"."{{prefix}}routing" (
    one boolean not null default true,
    version bigint not null default 0,
    constraint "{{prefix}}routing_pkey" primary key (one),
    constraint "{{prefix}}routing_one" check (one)
  );
  insert into "{{schema}}"."{{prefix}}routing" default values;

  create sequence "{{schema}}"."{{prefix}}received_seq" as bigint cache 1;

  -- The messages that were received, each once.
  create table "{{schema}}"."{{prefix}}received" (
    seq bigint not null,
    received_at timestamptz not null,
    -- When it happened, if its producer said so.
    occurred_at timestamptz,
    origin uuid not null,
    size integer not null,
    -- Whether no handler was subscribed to its topic so far.
    unrouted boolean not null,
    source text collate pg_catalog."C" not null,
    id text collate pg_catalog."C" not null,
    topic text collate pg_catalog."C" not null,
    key text collate pg_catalog."C",
    headers text not null,
    payload bytea not null,
    constraint "{{prefix}}received_pkey" primary key (seq),
    constraint "{{prefix}}received_known" unique (source, origin, id)
  ) with (
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_analyze_threshold = 5000
  );
  create index "{{prefix}}received_at" on "{{schema}}"."{{prefix}}received" (received_at)
    where not unrouted;
  create index "{{prefix}}received_unrouted" on "{{schema}}"."{{prefix}}received" (topic, seq)
    where unrouted;

  -- One row for each message and handler, as the rows of the outbox.
  create sequence "{{schema}}"."{{prefix}}inbox_seq" as bigint cache 1;
  create table "{{schema}}"."{{prefix}}inbox" (
    seq bigint not null default pg_catalog.nextval('"{{schema}}"."{{prefix}}inbox_seq"'),
    enqueued_at timestamptz not null,
    due_at timestamptz,
    settled_at timestamptz,
    replay bigint,
    message bigint not null,
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
    constraint "{{prefix}}inbox_pkey" primary key (partition, seq) with (fillfactor = 50),
    constraint "{{prefix}}inbox_partition" check (partition >= 256)
  ) with (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_analyze_threshold = 5000
  );
  create index "{{prefix}}inbox_pending" on "{{schema}}"."{{prefix}}inbox" (partition, seq)
    where state = 0;
  create index "{{prefix}}inbox_due" on "{{schema}}"."{{prefix}}inbox" (partition, due_at)
    where state = 1;
  create index "{{prefix}}inbox_blocker" on "{{schema}}"."{{prefix}}inbox" (partition, key, seq)
    where key is not null and (state in (1, 2) or (state = 3 and halts));
  create index "{{prefix}}inbox_dead" on "{{schema}}"."{{prefix}}inbox" (partition, seq)
    where state = 3;
  create index "{{prefix}}inbox_settled" on "{{schema}}"."{{prefix}}inbox" (settled_at)
    where state in (4, 5);
  create index "{{prefix}}inbox_replay" on "{{schema}}"."{{prefix}}inbox" (replay)
    where replay is not null;
  create index "{{prefix}}inbox_id" on "{{schema}}"."{{prefix}}inbox" (id)
    with (fillfactor = 50);

  -- Marks without a message, for those who have a consumer of their own.
  create table "{{schema}}"."{{prefix}}admitted" (
    origin uuid not null,
    admitted_at timestamptz not null,
    source text collate pg_catalog."C" not null,
    handler text collate pg_catalog."C" not null,
    id text collate pg_catalog."C" not null,
    constraint "{{prefix}}admitted_pkey" primary key (source, handler, origin, id)
  );
  create index "{{prefix}}admitted_at" on "{{schema}}"."{{prefix}}admitted" (admitted_at);
