#!/bin/sh
# Takes arguments of the server, with its name before them or without it.
set -eu
if [ "${1-}" = nats-server ]; then
    shift
fi
exec "$IOBOX_SERVER" "$@"
