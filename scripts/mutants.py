#!/usr/bin/env python3
"""Breaks the code of some rooms one place at a time, with cargo-mutants, and sees that a unit test fails each time.

    scripts/mutants.py [ROOM...] [-- ARGUMENT...]

Rooms are history, session and auth; arguments are cargo-mutants' own, as --list or --shard 1/4. docs/mutants.md says what came
of it.

A room knows few others, as tests/integration/rooms.rs sees to. So each is tried in a crate of its own below the target folder:
the room and those it knows. It builds in a fraction of the time, some hundred times over.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))

# Of the cases that a property is tried with, one in so many: each is tried again for every mutant.
CASES = 10

# Longest that the tests of a mutant may take, in seconds: some wait for ever, and the others take one or two.
TIMEOUT = 20


@dataclass
class Room:
    # What decides something; not tables, texts and plain types.
    files: list[str]
    # The tests that are run: the room's own, and those of who drives it.
    tests: list[str]
    # What is built.
    modules: list[str]


SESSION = ["backoff", "config", "history", "metrics", "protocol", "rate_limit", "session", "tls", "trace"]
ROOMS = {
    "history": Room(["join.rs", "open.rs"], ["history::", "session::"], SESSION),
    "session": Room(
        [f"{name}.rs" for name in "hold outbox machine v1 catch_up run write closing".split()] + ["transport/*.rs"],
        ["session::"],
        SESSION,
    ),
    "auth": Room(
        [f"{name}.rs" for name in "verify token keys revoked reload api_key trusted".split()] + ["jwks/*.rs"],
        # This one waits for five seconds that cannot be paused, and nothing here depends on it.
        ["auth::", "--skip=a_server_that_never_answers_is_given_up"],
        ["auth", "backoff", "config", "protocol", "tls", "told"],
    ),
}


def sources(modules: list[str]) -> list[Path]:
    src = HERE / "src"
    paths = [path for name in modules for path in sorted((src / name).rglob("*"))]
    return [path for path in paths + [src / f"{name}.rs" for name in modules] if path.is_file()]


def library(text: str, modules: list[str]) -> str:
    """lib.rs with these modules only."""
    return re.sub(r"^pub mod (\w+);\n", lambda found: found[0] if found[1] in modules else "", text, flags=re.M)


def manifest(text: str, name: str) -> str:
    """Cargo.toml without other targets. Not without a crate: all are built for other tests, with the same features."""
    text = re.sub(r"^\[\[\w+\]\]\n(?:.+\n)*|^default-run = .*\n", "", text, flags=re.M)
    # A name of its own, or cargo would take one room's library for another's. What fails is not debugged.
    own = f'[lib]\nname = "websocket_service_{name}"\n\n[profile.dev.package.websocket-service]\ndebug = false\n\n'
    return text.replace("[dependencies]\n", own + "[dependencies]\n", 1)


def quick(text: str) -> str:
    """Tests with fewer cases of their properties."""
    return re.sub(r"with_cases\(([\d_]+)\)", lambda found: f"with_cases({int(found[1]) // CASES})", text)


def untested(text: str) -> str:
    """Code without its tests, which are those of another room."""
    text = re.sub(r"#\[cfg\(test\)\]\n(#\[path = .*\]\n)?mod tests;\n", "", text)
    return re.sub(r"#\[cfg\(test\)\]\nmod tests \{\n.*\Z", "", text, flags=re.S)


def write(path: Path, text: str) -> None:
    """Only what has changed, or cargo would build it anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def lay(name: str, folder: Path) -> None:
    """Lays the room's crate in the folder."""
    room, modules = ROOMS[name], ROOMS[name].modules
    kept = {path.relative_to(HERE): path.read_text() for path in sources(modules + ["generated"])}
    tested = tuple(f"src/{word.removesuffix('::')}/" for word in room.tests)
    for path, text in kept.items():
        kept[path] = quick(text) if str(path).startswith(tested) else untested(text)
    kept[Path("src/lib.rs")] = library((HERE / "src/lib.rs").read_text(), modules)
    kept[Path("Cargo.toml")] = manifest((HERE / "Cargo.toml").read_text(), name)
    for file in [".cargo/mutants.toml", "rust-toolchain.toml"]:
        kept[Path(file)] = (HERE / file).read_text()
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder) not in kept:
            path.unlink()
    for path, text in kept.items():
        write(folder / path, text)
    shutil.copy(HERE / "Cargo.lock", folder / "Cargo.lock")


def run(name: str, arguments: list[str]) -> int:
    room = ROOMS[name]
    folder = TARGET / "mutants" / name
    lay(name, folder)
    # That a test fails is enough: how, and with how small a case, is not asked.
    quiet = {"RUST_BACKTRACE": "0", "PROPTEST_MAX_SHRINK_ITERS": "0"}
    environment = os.environ | quiet | {"CARGO_TARGET_DIR": str(TARGET)}
    files = [f"--file=src/{name}/{file}" for file in room.files]
    command = ["cargo", "mutants", "--in-place", f"--timeout={TIMEOUT}", "--output", str(folder) + ".out", *files, *arguments]
    return subprocess.run(command + ["--", "--", *room.tests], cwd=folder, env=environment).returncode


def main(words: list[str]) -> int:
    cut = words.index("--") if "--" in words else len(words)
    names, arguments = words[:cut] or list(ROOMS), words[cut + 1 :]
    unknown = [name for name in names if name not in ROOMS]
    if unknown:
        print(f"mutants: no such room: {' '.join(unknown)}", file=sys.stderr)
        return 64
    return max(run(name, arguments) for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
