  -- The timeline of the server. A standby that is promoted and a recovery to an earlier point begin another:
  -- what was committed before may be lost then, and its numbers are given again. Always 1 where a server
  -- does not tell, as one whose storage is not its own. Asked again at every migration: a dump may have come
  -- from another server.
  begin
    create or replace function "{{schema}}"."{{prefix}}timeline"() returns bigint
      language sql volatile parallel safe
      return ('x' || pg_catalog.substr(
        pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8
      ))::bit(32)::bigint;
    perform "{{schema}}"."{{prefix}}timeline"();
  exception
    when feature_not_supported or undefined_function or insufficient_privilege then
      create or replace function "{{schema}}"."{{prefix}}timeline"() returns bigint
        language sql immutable parallel safe
        return 1::bigint;
  end;
