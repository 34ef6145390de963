"""What the figures were made on, and which cores the server and the load have."""

import datetime
import os
import pathlib
import platform
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def split(available: list[int], workers: int = 1) -> tuple[str, str]:
    """Cores for a server with so many workers, and for the load with Redis, as `taskset -c` takes them. They are apart
    where there are enough; else the load has the last core, and the server what it asks for, which may be the same."""
    if len(available) < 2:
        raise SystemExit("bench: at least two cores are needed, one for the server and one for the load")
    server = available[:workers]
    load = available[workers:] if len(available) > workers else available[-1:]
    return ",".join(map(str, server)), ",".join(map(str, load))


def are_apart(available: list[int], workers: int) -> bool:
    """Whether a server with so many workers can be kept apart from a load with as many cores."""
    return len(available) >= 2 * workers


def cpu_model(cpuinfo: str) -> str:
    """The processor's name in /proc/cpuinfo; some architectures have none there."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def said(*command: str) -> str:
    """The first line that a command prints, or nothing where it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout.strip().splitlines() or [""])[0]


def our_version() -> str:
    """Version and commit of this checkout."""
    manifest = (ROOT / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.+)"$', manifest, re.MULTILINE)
    commit = said("git", "rev-parse", "--short", "HEAD")
    changed = ", with changes" if said("git", "status", "--porcelain", "--untracked-files=no") else ""
    return f"{version[1] if version else '?'} ({commit or 'no commit'}{changed})"


def facts() -> dict[str, object]:
    """All that the page names of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    redis = re.search(r"v=(\S+)", said("redis-server", "--version"))
    return {
        "cpu": cpu_model(pathlib.Path("/proc/cpuinfo").read_text()),
        "cores": len(cores()),
        "memory_gib": round(memory),
        "kernel": f"{platform.system()} {platform.release()}",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "redis": redis[1] if redis else "?",
    }
