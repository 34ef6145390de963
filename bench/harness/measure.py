"""Runs one load against one server: a Redis and the server of its own, on ports of their own, all ended with it."""

import contextlib
import json
import os
import pathlib
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from harness.loads import Load
from harness.servers import Server, Setting

#: Seconds for a server to start listening; Node.js and Python take one or two.
START = 30
#: Seconds beyond the load's own that websocket-bench may take, most of which the slowest server needs for its handshakes.
SLACK = 150


class Failed(Exception):
    """Why a load has no result, in words for the page."""


def raise_open_files() -> None:
    """Each connection is an open file, on both sides."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(cores: str, *command: str) -> list[str]:
    return ["taskset", "-c", cores, *command]


@contextlib.contextmanager
def running(command: list[str], env: dict[str, str], port: int, log: pathlib.Path) -> Iterator[subprocess.Popen]:
    """A server until the block ends. What it logs is shown only where it does not start."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
                raise Failed("it did not start")
            time.sleep(0.1)
        yield process
    finally:
        # Nobody is connected any more, so there is nothing to be polite about.
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def measure(server: Server, load: Load, binaries: pathlib.Path, cores: tuple[str, str], workers: int = 1) -> dict:
    """The last line of websocket-bench, with the samples of the lines before it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        place = pathlib.Path(folder)
        redis_port = free_port()
        redis = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                 "--maxclients", "18000", "--client-output-buffer-limit", "pubsub 0 0 0", "--dir", folder]
        stack.enter_context(running(pinned(cores[1], *redis), dict(os.environ), redis_port, place / "redis.log"))
        redis_url = f"redis://127.0.0.1:{redis_port}/0"
        setting = Setting(free_port(), free_port(), redis_url, secrets.token_hex(32), secrets.token_hex(16), workers)
        started, env = server.start(binaries, setting)
        process = stack.enter_context(
            running(pinned(cores[0], *started), {**os.environ, **env}, setting.port, place / "server.log"))
        # What it does once after its start is not the load's.
        time.sleep(1)
        (place / "secret").write_text(setting.secret)
        (place / "api-key").write_text(setting.api_key)
        flags = ["--url", server.url.format(port=setting.port), "--secret-file", str(place / "secret"),
                 "--mode", server.mode, "--pid", str(process.pid), "--json"]
        if load.command == "deliver":
            flags += ["--via", server.via]
            flags += (["--redis-url", redis_url] if server.via == "redis" else
                      ["--publish-url", f"http://127.0.0.1:{setting.port}", "--api-key-file", str(place / "api-key")])
        # The server is its own process: taskset replaces itself with it.
        return bench(pinned(cores[1], str(binaries / "websocket-bench"), *load.arguments(), *flags),
                     load.hold + load.after + load.seconds + SLACK)


def command(server: Server, load: Load) -> str:
    """The load as one would type it, without what differs from run to run: ports, keys, the process."""
    via = f" --via {server.via}" if load.command == "deliver" else ""
    return f"websocket-bench {' '.join(load.arguments())} --mode {server.mode}{via}"


def bench(command: list[str], seconds: float) -> dict:
    """Runs websocket-bench and returns its last line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"it took longer than {seconds:.0f} s") from None
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines or not lines[-1].get("final"):
        print(done.stderr[-2000:], file=sys.stderr)
        raise Failed("the load did not finish")
    return lines[-1]


def floor(binaries: pathlib.Path, cores: tuple[str, str]) -> dict:
    """What one write costs here. It places its two threads on cores by itself where it can."""
    both = ",".join(dict.fromkeys(",".join(cores).split(",")))
    return bench(pinned(both, str(binaries / "websocket-bench"), "floor", "--json"), 60)
