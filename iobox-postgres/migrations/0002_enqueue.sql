  -- Refuses what a field of a message must not hold: the same rules as in the Rust library.
  create function "{{schema}}"."{{prefix}}check_text"(field text, content text) returns void
    language plpgsql immutable parallel safe security invoker
    set search_path = pg_catalog, pg_temp
    as $check$
  begin
    if content = '' then
      raise exception '% is empty; it needs 1 to 255 bytes', field using errcode = '22023';
    end if;
    if octet_length(content) > 255 then
      raise exception '% has % bytes; at most 255 are allowed', field, octet_length(content)
        using errcode = '22023';
    end if;
    if content ~ '[\u0001-\u001f\u007f-\u009f]' then
      raise exception '% has a control character; remove it', field using errcode = '22023';
    end if;
  end
  $check$;

  -- Checks headers and returns them as an array of [name, value] pairs. An object is taken too; its
  -- order is the one that jsonb gives it.
  create function "{{schema}}"."{{prefix}}check_headers"(headers jsonb) returns jsonb
    language plpgsql immutable parallel safe security invoker
    set search_path = pg_catalog, pg_temp
    as $check$
  declare
    pairs jsonb;
    pair jsonb;
    header_name text;
    header_value text;
    seen text[] := array[]::text[];
    total integer := 0;
  begin
    if jsonb_typeof(headers) = 'object' then
      select coalesce(jsonb_agg(jsonb_build_array(each.key, each.value)), '[]')
        into pairs from jsonb_each(headers) as each;
    elsif jsonb_typeof(headers) = 'array' then
      pairs := headers;
    else
      raise exception 'headers are neither an object nor an array of pairs' using errcode = '22023';
    end if;
    if jsonb_array_length(pairs) > 64 then
      raise exception 'message has % headers; at most 64 are allowed', jsonb_array_length(pairs)
        using errcode = '22023';
    end if;
    for pair in select element from jsonb_array_elements(pairs) as element loop
      if jsonb_typeof(pair) <> 'array' or jsonb_array_length(pair) <> 2
        or jsonb_typeof(pair -> 0) <> 'string' or jsonb_typeof(pair -> 1) <> 'string' then
        raise exception 'headers are not pairs of strings' using errcode = '22023';
      end if;
      header_name := pair ->> 0;
      header_value := pair ->> 1;
      if octet_length(header_name) not between 1 and 128 then
        raise exception 'name of a header has % bytes; it needs 1 to 128',
          octet_length(header_name) using errcode = '22023';
      end if;
      if header_name ~ '[^A-Za-z0-9!#$%&''*+.^_`|~-]' then
        raise exception 'name of a header has a character outside of A-Z a-z 0-9 !#$%%&''*+-.^_`|~'
          using errcode = '22023';
      end if;
      if lower(header_name) like 'nats-%' or lower(header_name) like 'iobox-%' then
        raise exception 'header "%" starts with a reserved prefix', header_name
          using errcode = '22023';
      end if;
      if lower(header_name) = any (seen) then
        raise exception 'header "%" is given twice', header_name using errcode = '22023';
      end if;
      if octet_length(header_value) > 4096 then
        raise exception 'value of header "%" has % bytes; at most 4096 are allowed',
          header_name, octet_length(header_value) using errcode = '22023';
      end if;
      if header_value ~ '[\u0001-\u001f\u007f-\u009f]' then
        raise exception 'value of header "%" has a control character', header_name
          using errcode = '22023';
      end if;
      seen := seen || lower(header_name);
      total := total + octet_length(header_name) + octet_length(header_value);
    end loop;
    if total > 16384 then
      raise exception 'headers have % bytes together; at most 16384 are allowed', total
        using errcode = '22023';
    end if;
    return pairs;
  end
  $check$;

  -- Writes one message in the caller's transaction and returns its id: the write path for every
  -- language. A message with this id that exists already is left alone: a notice says so, and the
  -- same id is returned. What breaks a bound is refused with SQLSTATE 22023.
  create function "{{schema}}"."{{prefix}}enqueue"(
    topic text, key text, payload bytea, headers jsonb default '{}', id text default null
  ) returns text
    language plpgsql volatile security invoker
    set search_path = pg_catalog, pg_temp
    as $enqueue$
  declare
    given_topic alias for $1;
    given_key alias for $2;
    given_payload alias for $3;
    given_headers alias for $4;
    given_id alias for $5;
    settings record;
    message_id text := given_id;
    pairs jsonb;
    tokens text[] := string_to_array(given_topic, '.');
    header_bytes integer;
  begin
    select m.partitions, m.payload_max, m.wake_up into strict settings
      from "{{schema}}"."{{prefix}}meta" as m;
    if given_payload is null then
      raise exception 'payload is null' using errcode = '22023';
    end if;
    if octet_length(given_payload) > settings.payload_max then
      raise exception 'payload has % bytes; at most % are allowed',
        octet_length(given_payload), settings.payload_max using errcode = '22023';
    end if;
    if given_topic is null then
      raise exception 'topic is null' using errcode = '22023';
    end if;
    perform "{{schema}}"."{{prefix}}check_text"('topic', given_topic);
    if given_topic ~ '[^!-~]' or given_topic ~ '[*>]' then
      raise exception 'topic has a character that is not printable ASCII, a space, * or >'
        using errcode = '22023';
    end if;
    if '' = any (tokens) then
      raise exception 'topic has an empty token; remove the leading, trailing or doubled dot'
        using errcode = '22023';
    end if;
    if cardinality(tokens) > 16 then
      raise exception 'topic has % tokens; at most 16 are allowed', cardinality(tokens)
        using errcode = '22023';
    end if;
    if given_topic like '$%' or tokens[1] = '_INBOX' then
      raise exception 'topic starts with $ or _INBOX, which brokers keep for themselves'
        using errcode = '22023';
    end if;
    if given_key is not null then
      perform "{{schema}}"."{{prefix}}check_text"('ordering key', given_key);
    end if;
    pairs := "{{schema}}"."{{prefix}}check_headers"(coalesce(given_headers, '[]'));
    select coalesce(sum(octet_length(pair ->> 0) + octet_length(pair ->> 1)), 0)
      into header_bytes from jsonb_array_elements(pairs) as pair;

    if message_id is null then
      -- A UUID of version 7: 48 bits of milliseconds, then randomness.
      message_id := encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing
        substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
        from 1 for 6), 52, 1), 53, 1), 'hex')::uuid::text;
    else
      perform "{{schema}}"."{{prefix}}check_text"('id', message_id);
      insert into "{{schema}}"."{{prefix}}id" as known (id, enqueued_at)
        values (message_id, "{{schema}}"."{{prefix}}clock"())
        on conflict do nothing;
      if not found then
        raise notice 'iobox: a message with this id exists already; nothing was written';
        return message_id;
      end if;
    end if;

    insert into "{{schema}}"."{{prefix}}message"
      (partition, id, topic, key, headers, payload, size, enqueued_at)
      values (
        get_byte(sha256(convert_to(coalesce(given_key, message_id), 'UTF8')), 0)
          % settings.partitions,
        message_id, given_topic, given_key, pairs::text, given_payload,
        octet_length(message_id) + octet_length(given_topic)
          + coalesce(octet_length(given_key), 0) + header_bytes + octet_length(given_payload),
        "{{schema}}"."{{prefix}}clock"()
      );

    if settings.wake_up and not pg_try_advisory_xact_lock_shared({{wake_key}}) then
      perform pg_notify('{{channel}}', '');
    end if;
    return message_id;
  end
  $enqueue$;
