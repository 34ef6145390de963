"""The servers: how each is made ready, started and reached."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.machine import ROOT, our_version, said

PEERS = ROOT / "bench/peers"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "websocket-service/bench"
CENTRIFUGO = "6.9.1"
CENTRIFUGO_MODULE = f"github.com/centrifugal/centrifugo/v6@v{CENTRIFUGO}"


class Missing(Exception):
    """Why a server cannot be measured here, in words for the page."""


@dataclass(frozen=True)
class Setting:
    """What a server is started with."""

    port: int
    admin_port: int
    redis_url: str
    secret: str
    api_key: str
    workers: int


@dataclass(frozen=True)
class Server:
    """One column of the page."""

    key: str
    title: str
    #: Dialect of websocket-bench.
    mode: str
    #: The endpoint, with the port to fill in.
    url: str
    #: Makes it ready and returns its version. Raises Missing.
    prepare: Callable[[pathlib.Path], str]
    #: The command and its environment.
    start: Callable[[pathlib.Path, Setting], tuple[list[str], dict[str, str]]]
    via: str = "redis"
    #: Connections that it is given where others get more; none for all.
    most: int | None = None
    notes: list[str] = field(default_factory=list)


def _run(*command: str, cwd: pathlib.Path | None = None, env: dict[str, str] | None = None) -> None:
    """Runs an installer. What it printed stays on the terminal: the page only says that it did not work."""
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=sys.stderr)
    if done.returncode != 0:
        raise Missing(f"`{command[0]}` could not install it")


def _copied(folder: pathlib.Path, stamp: str) -> tuple[pathlib.Path, bool]:
    """A peer's folder in the cache, and whether what it was installed from has changed since."""
    place = CACHE / folder.name
    wanted = (folder / stamp).read_bytes()
    fresh = (place / "installed").exists() and (place / "installed").read_bytes() == wanted
    if not fresh:
        shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place, dirs_exist_ok=True)
    return place, not fresh


def _installed(place: pathlib.Path, stamp: str) -> None:
    shutil.copy(place / stamp, place / "installed")


def _our_binary(binaries: pathlib.Path) -> str:
    for program in ("websocket-service", "websocket-bench"):
        if not (binaries / program).exists():
            raise SystemExit(f"bench: no {program} in {binaries}; `make optimized` builds it")
    return our_version()


def _ours(binaries: pathlib.Path, setting: Setting) -> tuple[list[str], dict[str, str]]:
    prefix = "WEBSOCKET_SERVICE_"
    settings = {
        "ENVIRONMENT": "production", "HOST": "127.0.0.1", "PORT": setting.port, "ADMIN_PORT": setting.admin_port,
        "REDIS_URL": setting.redis_url, "JWT_SECRET_KEY": setting.secret, "LOG_LEVEL": "WARN",
        "MAX_CONNECTIONS": 20_000, "MAX_CONNECTIONS_PER_USER": 20_000,
    }
    env = {prefix + name: str(value) for name, value in settings.items()}
    return [str(binaries / "websocket-service")], {**env, "TOKIO_WORKER_THREADS": str(setting.workers)}


def _prepare_socketio(_: pathlib.Path) -> str:
    if not shutil.which("npm"):
        raise Missing("there is no npm")
    place, stale = _copied(PEERS / "socketio", "package.json")
    if stale:
        _run("npm", "install", "--omit=dev", "--no-audit", "--no-fund", "--silent", cwd=place)
        _installed(place, "package.json")
    versions = json.loads((place / "package.json").read_text())["dependencies"]
    return f"{versions['socket.io']} on Node.js {said('node', '--version').lstrip('v')}"


def _socketio(_: pathlib.Path, setting: Setting) -> tuple[list[str], dict[str, str]]:
    return ["node", str(CACHE / "socketio/server.js")], {**_common(setting), "NODE_ENV": "production"}


def _prepare_fastapi(_: pathlib.Path) -> str:
    place, stale = _copied(PEERS / "fastapi", "requirements.txt")
    if stale:
        _run(sys.executable, "-m", "venv", "venv", cwd=place)
        _run("venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt", cwd=place)
        _installed(place, "requirements.txt")
    pinned = dict(line.split("==") for line in (place / "requirements.txt").read_text().split())
    python = said(str(place / "venv/bin/python"), "--version").removeprefix("Python ")
    return f"{pinned['fastapi']}, uvicorn {pinned['uvicorn']} on Python {python}"


def _fastapi(_: pathlib.Path, setting: Setting) -> tuple[list[str], dict[str, str]]:
    place = CACHE / "fastapi"
    command = [str(place / "venv/bin/uvicorn"), "app:app", "--app-dir", str(place), "--host", "127.0.0.1",
               "--port", str(setting.port), "--backlog", "8192", "--no-access-log", "--log-level", "warning"]
    return command, _common(setting)


def _centrifugo_binary() -> str | None:
    found = os.environ.get("CENTRIFUGO") or shutil.which("centrifugo")
    return found or (str(CACHE / "bin/centrifugo") if (CACHE / "bin/centrifugo").exists() else None)


def _prepare_centrifugo(_: pathlib.Path) -> str:
    if not _centrifugo_binary():
        if not shutil.which("go"):
            raise Missing("neither its binary nor Go is there")
        _run("go", "install", "-trimpath", CENTRIFUGO_MODULE, env={"GOBIN": str(CACHE / "bin")})
    version = said(_centrifugo_binary() or "", "version")
    return version.removeprefix("Centrifugo v").split(" ")[0]


def _centrifugo(_: pathlib.Path, setting: Setting) -> tuple[list[str], dict[str, str]]:
    env = {"HTTP_SERVER_PORT": str(setting.port), "ENGINE_REDIS_ADDRESS": setting.redis_url,
           "CLIENT_TOKEN_HMAC_SECRET_KEY": setting.secret, "HTTP_API_KEY": setting.api_key}
    command = [_centrifugo_binary() or "centrifugo", "-c", str(PEERS / "centrifugo/config.json")]
    return command, {**{f"CENTRIFUGO_{name}": value for name, value in env.items()}, "GOMAXPROCS": str(setting.workers)}


def _common(setting: Setting) -> dict[str, str]:
    return {"PORT": str(setting.port), "REDIS_URL": setting.redis_url, "JWT_SECRET": setting.secret}


OURS = Server("ours", "websocket-service", "plain", "ws://127.0.0.1:{port}/ws", _our_binary, _ours)
OURS_V1 = Server("ours_v1", "websocket-service, v1 mode", "v1", OURS.url, _our_binary, _ours)
#: In the order of the columns.
SERVERS = [
    OURS,
    OURS_V1,
    Server("centrifugo", "Centrifugo", "centrifugo", "ws://127.0.0.1:{port}/connection/websocket",
           _prepare_centrifugo, _centrifugo, via="centrifugo"),
    Server("socketio", "Socket.IO", "socket-io", "ws://127.0.0.1:{port}/socket.io/", _prepare_socketio, _socketio),
    # A connection to Redis for each WebSocket, so twice the sockets for the one core that the load and Redis share.
    Server("fastapi", "FastAPI", "plain", OURS.url, _prepare_fastapi, _fastapi, most=4_000),
]
