#!/bin/sh
# Publishes one message with history, and prints its id and the number of pods where the user is connected.
#
#   websocket-service publisher --script > publish.lua
#   publish.sh redis://localhost:6379 publish.lua alice '{"n":1}' [IDEMPOTENCY-KEY [TRACEPARENT]]
#
# Needs redis-cli 7.0 or later, whose -e makes an error an exit code. A password: in the environment, REDISCLI_AUTH.
set -eu
url=$1 script=$2 user=$3 payload=$4
exec redis-cli -e -u "$url" --eval "$script" "ws:$user" , "$payload" "${5-}" "${6-}"
