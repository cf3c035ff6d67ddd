#!/bin/sh
# Takes arguments of the server, with its name before them or without it. Like the official image, it
# serves clients from outside of the container; its folder is where it was started.
set -eu
case "${1-}" in
redis-server | valkey-server) shift ;;
esac
exec "$IOBOX_SERVER" "$@" --bind 0.0.0.0 --protected-mode no
