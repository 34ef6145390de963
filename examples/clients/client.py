#!/usr/bin/env python3
"""Prints a user's messages, one a line, and stays connected. What it misses while it is away comes when it is back.

    client.py ws://localhost:8004/ws --token TOKEN            (or the environment's WEBSOCKET_TOKEN)
    client.py ws://localhost:8004/ws --token-command 'fetch-a-token --for alice'
    client.py ws://localhost:8004/ws --plain                  (the payloads as they are; what is missed stays missed)

Needs Python 3.9 or later and the package `websockets`, version 15 or later.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

V1 = "websocket-service.v1"
STOP = {1000, 1002, 1003, 1007, 1009, 4000, 4004}  # Coming back at once would end the same way.
STOP_HTTP = {400, 403, 404, 426}
REFUSED = {1008, 401}  # The token.
FIRST_WAIT, LONGEST_WAIT, STEADY, TOO_FAST_WAIT = 2.0, 60.0, 10.0, 10.0  # Seconds.
REMEMBERED = 1_000  # Ids, besides as many as history holds.


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--token", default=os.environ.get("WEBSOCKET_TOKEN"))
    parser.add_argument("--token-command", help="prints a fresh token; run before each connection")
    parser.add_argument("--plain", action="store_true", help="no v1 mode: no ids, no resuming")
    parser.add_argument("--count", type=int, default=0, help="leave after so many messages")
    return parser.parse_args()


def token(options):
    if options.token_command:
        return subprocess.run(
            options.token_command, shell=True, check=True, text=True, stdout=subprocess.PIPE
        ).stdout.strip()
    return options.token


def say(text):
    print(text, file=sys.stderr, flush=True)


class Messages:
    """What came, over all connections, and how far it goes."""

    def __init__(self, wanted):
        self.wanted, self.printed = wanted, 0
        self.cursor = None  # The id to resume from.
        self.seen = {}  # Ids of what was printed, the oldest first: after a gap some of it may be sent again.
        self.remembered = REMEMBERED
        self.after = None  # Seconds after which the service wants this client back, once it said so.

    def show(self, message):
        print(message, flush=True)
        self.printed += 1

    def enough(self):
        return 0 < self.wanted <= self.printed

    def frame(self, frame):
        """Takes a frame of v1 mode. Types and fields that are not known are passed over."""
        kind = frame.get("type")
        if kind == "hello":
            self.cursor = frame["cursor"]
            self.remembered = REMEMBERED + (frame["history"] or {"messages": 0})["messages"]
            say(f"hello, resumed: {json.dumps(frame['resumed'])}")
        elif kind == "message":
            self.message(frame)
        elif kind == "gap":
            # Here an application fetches the present state from its own back end.
            say(f"gap after {frame['after']}: something is missing")
        elif kind == "reconnect":
            self.after = frame["after_ms"] / 1000
            say(f"asked to come back in {self.after:.1f} s: {frame['reason']}")
        elif kind == "error":
            say(f"{frame['message']} [{frame['code']}], correlation id {frame['correlation_id']}")

    def message(self, frame):
        identity = frame.get("id")  # A message published without history has none.
        if identity not in self.seen:
            self.show(frame["text"] if "text" in frame else compact(frame["data"]))
        if identity is not None:
            self.cursor = identity  # Only now: what was not dealt with is to be sent again.
            self.seen[identity] = True
            while len(self.seen) > self.remembered:
                del self.seen[next(iter(self.seen))]


def compact(data):
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def listen(options, messages):
    """One connection from its start to its end. Returns the code it ended with and the least time to wait, in seconds."""
    bearer = token(options)
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    if messages.cursor:
        headers["Last-Event-ID"] = messages.cursor
    messages.after = None
    try:
        subprotocols = None if options.plain else [V1]
        with connect(options.url, additional_headers=headers, subprotocols=subprotocols) as socket:
            say("open")
            while not messages.enough():
                message = socket.recv()
                # A service that does not know v1 mode selects nothing, and talks as in plain mode.
                if socket.subprotocol == V1:
                    messages.frame(json.loads(message))
                else:
                    messages.show(message)
            return 1000, 0
    except ConnectionClosed as end:
        if end.rcvd is None:
            say("closed without a close frame")
            return 1006, 0
        say(f"closed, {end.rcvd.code}: {explain(end.rcvd.reason)}")
        return end.rcvd.code, TOO_FAST_WAIT if end.rcvd.code == 4003 else 0
    except InvalidStatus as refusal:
        response = refusal.response
        say(f"refused, HTTP {response.status_code}: {response.body.decode(errors='replace')}")
        retry_after = response.headers.get("Retry-After", "0")
        return response.status_code, float(retry_after) if retry_after.isdigit() else 0
    except (OSError, InvalidHandshake) as trouble:  # A time-out is an OSError.
        say(f"no connection: {trouble}")
        return 1006, 0


def explain(reason):
    """A close reason is JSON: error_code, message, correlation_id."""
    try:
        fields = json.loads(reason)
        return f"{fields['message']} [{fields['error_code']}], correlation id {fields['correlation_id']}"
    except (ValueError, KeyError, TypeError):
        return reason or "no reason given"


def main():
    options = arguments()
    messages = Messages(options.count)
    failures = refusals = 0
    while True:
        start = time.monotonic()
        code, least = listen(options, messages)
        # A refusal can come as an accepted connection that is closed at once, so only one that lasted is a success.
        if time.monotonic() - start > STEADY:
            failures = refusals = 0
        if messages.enough():
            return 0
        refusals = refusals + 1 if code in REFUSED else 0
        if code in STOP or code in STOP_HTTP or refusals == 2:
            return 0 if code == 1000 else 1
        if messages.after is not None and failures == 0:
            wait = messages.after  # Chosen at random by the service already.
        else:
            wait = (messages.after or least) + random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**failures))
        failures = min(failures + 1, 10)
        say(f"again in {wait:.1f} s")
        time.sleep(wait)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
