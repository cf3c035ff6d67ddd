#!/bin/sh
# Does what the official image does with the environment that the testkit gives: sets the database up at
# the first start, by a first server that nobody can reach, and stays as the second one. The first logs on
# stdout and the second on stderr, so that each says once where it is ready.
set -eu
data=/var/lib/data/pg
if [ "${POSTGRES_HOST_AUTH_METHOD-}" != trust ]; then
    echo 'this image knows no passwords; set POSTGRES_HOST_AUTH_METHOD=trust' >&2
    exit 1
fi
if [ "${1-}" = postgres ]; then
    shift
fi
if [ ! -e "$data/PG_VERSION" ]; then
    initdb --pgdata="$data" --username="${POSTGRES_USER:-postgres}" --auth=trust \
        --no-locale --encoding=UTF8 --no-sync >/dev/null
    echo 'host all all all trust' >>"$data/pg_hba.conf"
    pg_ctl --pgdata="$data" --options="-k /tmp -c listen_addresses='' -c fsync=off" --wait start
    pg_ctl --pgdata="$data" --mode=fast --wait stop
fi
exec "$IOBOX_SERVER" -D "$data" -k /tmp -c listen_addresses='*' "$@"
