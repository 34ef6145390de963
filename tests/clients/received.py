#!/usr/bin/env python3
"""Prints the bytes of each text frame in hexadecimal, one a line, as the package `websockets` received them."""

import sys

from websockets.sync.client import connect

url, count = sys.argv[1], int(sys.argv[2])
with connect(url) as socket:
    print("open", file=sys.stderr, flush=True)
    for _ in range(count):
        print(socket.recv(decode=False).hex(), flush=True)
