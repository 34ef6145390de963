#!/usr/bin/env python3
"""Prints a user's messages, one a line, and stays connected.

    client.py ws://localhost:8004/ws --token TOKEN            (or the environment's WEBSOCKET_TOKEN)
    client.py ws://localhost:8004/ws --token-command 'fetch-a-token --for alice'

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

STOP = {1000, 1002, 1003, 1007, 1009, 4000, 4004}  # Coming back at once would end the same way.
STOP_HTTP = {400, 403, 404, 426}
REFUSED = {1008, 401}  # The token.
FIRST_WAIT, LONGEST_WAIT, STEADY, TOO_FAST_WAIT = 2.0, 60.0, 10.0, 10.0  # Seconds.


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--token", default=os.environ.get("WEBSOCKET_TOKEN"))
    parser.add_argument("--token-command", help="prints a fresh token; run before each connection")
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
    """What came, over all connections."""

    def __init__(self, wanted):
        self.wanted, self.seen = wanted, 0

    def take(self, message):
        print(message, flush=True)
        self.seen += 1

    def enough(self):
        return 0 < self.wanted <= self.seen


def listen(options, messages):
    """One connection from its start to its end. Returns the code it ended with and the least time to wait, in seconds."""
    bearer = token(options)
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    try:
        with connect(options.url, additional_headers=headers) as socket:
            say("open")
            while not messages.enough():
                messages.take(socket.recv())
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
        wait = least + random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**failures))
        failures = min(failures + 1, 10)
        say(f"again in {wait:.1f} s")
        time.sleep(wait)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
