#!/usr/bin/env bash
# Starts the service as a newcomer does, `make run`, and sees that it answers, shows a URL that works, and stops when
# told to. Bounded in time; prints what it saw.
set -euo pipefail
cd "$(dirname "$0")/.."

address=http://localhost:8004
build_seconds=${SMOKE_BUILD_SECONDS:-1200} # `make run` may have everything to build.
stop_seconds=${SMOKE_STOP_SECONDS:-60}
log=$(mktemp)
group=

# Whether any process of `make run` is left.
alive() { [ -n "$group" ] && kill -0 -- "-$group" 2>/dev/null; }

cleanup() {
    if alive; then kill -KILL -- "-$group" 2>/dev/null || true; fi
    rm -f "$log"
}
trap cleanup EXIT

fail() {
    echo "smoke: $*; the log so far:" >&2
    cat "$log" >&2
    exit 1
}

# until_true SECONDS COMMAND...: tries the command until it succeeds; fails when the time is over or `make run` ended.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        alive || return 1
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

healthy() { curl --silent --fail --output /dev/null --max-time 5 "$address/healthz"; }
ready_url() { grep --only-matching --max-count=1 -E 'ws://localhost:8004/ws\?token=[A-Za-z0-9_.-]+' "$log"; }
shows_url() { ready_url >/dev/null; }

if curl --silent --output /dev/null --max-time 2 "$address/healthz"; then
    fail "something else already answers on $address"
fi

# A session of its own, so that make, cargo and the service are stopped as one group.
setsid make --no-print-directory run >"$log" 2>&1 </dev/null &
group=$!

until_true "$build_seconds" healthy || fail "no answer from $address/healthz"
echo "smoke: $address/healthz answers $(curl --silent --max-time 5 "$address/healthz")"

until_true 10 shows_url || fail "the log shows no ready-made URL"
url=$(ready_url)
echo "smoke: the log shows ${url%%token=*}token=…"

page=$(curl --silent --fail --max-time 5 "$address/") || fail "no page at $address/"
[[ "$page" == *'id="messages"'* ]] || fail "the page at $address/ is not the development page"
echo "smoke: $address/ is the development page"

# curl stays connected after the upgrade; its time-out is how it ends.
upgrade=$(curl --silent --include --no-buffer --http1.1 --max-time 2 \
    --header 'Connection: Upgrade' --header 'Upgrade: websocket' --header 'Sec-WebSocket-Version: 13' \
    --header 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "http${url#ws}" 2>/dev/null | head -n 1 | tr -d '\r') || true
[[ "$upgrade" == *' 101 '* ]] || fail "the ready-made URL was answered '$upgrade'"
echo "smoke: the ready-made URL is answered $upgrade"

kill -TERM -- "-$group"
stopped() { ! alive; }
end=$((SECONDS + stop_seconds))
until stopped; do
    [ "$SECONDS" -lt "$end" ] || fail "still running $stop_seconds s after SIGTERM"
    sleep 0.2
done
wait "$group" || true # make reports the signal; the service's own exit code is a test's matter.
echo "smoke: stopped on SIGTERM"
