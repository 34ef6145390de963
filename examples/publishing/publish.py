#!/usr/bin/env python3
"""Publishes one message with history, and prints its id and the number of pods where the user is connected.

    websocket-service publisher --script > publish.lua
    publish.py redis://localhost:6379 publish.lua alice '{"n":1}' [IDEMPOTENCY-KEY [TRACEPARENT]]

Needs Python 3.9 or later and the package `redis`, version 5 or later.
"""

import sys
from pathlib import Path

import redis


class Publisher:
    def __init__(self, client, script):
        # Sends EVALSHA, and loads the script where Redis does not know it: at first, and after a restart.
        self.script = client.register_script(script)

    def publish(self, user, payload, idempotency_key="", traceparent=""):
        """Returns the message's id and the number of pods. Safe to repeat with the same idempotency key."""
        message_id, pods = self.script(keys=[f"ws:{user}"], args=[payload, idempotency_key, traceparent])
        return message_id.decode(), pods


def main():
    url, script, user, payload, *named = sys.argv[1:]
    # Fails within a second or two when Redis is away; the default waits for as long as TCP does.
    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=1)
    print(*Publisher(client, Path(script).read_text()).publish(user, payload, *named))


if __name__ == "__main__":
    main()
