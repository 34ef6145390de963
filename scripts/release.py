#!/usr/bin/env python3
"""Makes a release of the commit that is checked out, in dist/:

    websocket-service-VERSION-TARGET.tar.gz    the four programs
    websocket-service-VERSION.cdx.json         everything that is in them (CycloneDX)
    websocket-service-VERSION.provenance.json  what they were built from, and how (in-toto statement, SLSA provenance v1)
    SHA256SUMS                                 of the above

    scripts/release.py            builds them
    scripts/release.py --again    builds the programs once more, elsewhere, and compares: exit code 1 if a byte differs

The same commit, compiler and C toolchain give the same programs, wherever they are built: paths are taken out of them, times
are the commit's. Nothing is signed: that takes a key, which is its owner's business (`cosign attest-blob --predicate …`).
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
NAME = "websocket-service"
PROGRAMS = ("websocket-service", "connection-gauge", "metrics-adapter", "websocket-bench")
BESIDE = ("LICENSE", "README.md", "CHANGELOG.md")


def output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def version() -> str:
    packages = json.loads(output("cargo", "metadata", "--locked", "--no-deps", "--format-version=1"))["packages"]
    return next(package["version"] for package in packages if package["name"] == NAME)


def compiler() -> dict[str, str]:
    """What `rustc -vV` says."""
    return dict(line.split(": ", 1) for line in output("rustc", "-vV").splitlines()[1:])


def surroundings(target_folder: pathlib.Path, environment: dict[str, str], commit_time: str) -> dict[str, str]:
    """The environment of a build whose programs do not know where they were built."""
    cargo_home = pathlib.Path(environment.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    # The last that fits counts, so what lies within another comes after it.
    moved = {str(cargo_home): "/cargo", output("rustc", "--print=sysroot"): "/rust", str(ROOT): "/build", str(target_folder): "/target"}
    # Set, they would be in the programs, or take the place of what is set here.
    kept = {name: value for name, value in environment.items() if not name.startswith(("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_PROFILE_RELEASE", "CFLAGS", "CXXFLAGS"))}
    c_flags = " ".join(f"-ffile-prefix-map={place}={name}" for place, name in moved.items())
    return kept | {
        "CARGO_TARGET_DIR": str(target_folder),
        "CARGO_INCREMENTAL": "0",
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(f"--remap-path-prefix={place}={name}" for place, name in moved.items()),
        "CFLAGS": c_flags,
        "CXXFLAGS": c_flags,
        "SOURCE_DATE_EPOCH": commit_time,
    }


def build(target_folder: pathlib.Path, commit_time: str) -> dict[str, bytes]:
    """The programs, by name."""
    command = ["cargo", "build", "--locked", "--release", "--bins"]
    subprocess.run(command, cwd=ROOT, check=True, env=surroundings(target_folder, dict(os.environ), commit_time))
    return {name: (target_folder / "release" / name).read_bytes() for name in PROGRAMS}


def archive(files: dict[str, bytes], folder: str, time: int) -> bytes:
    """A .tar.gz that is the same whenever its files are."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=time, filename="") as zipped, tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime, entry.mode = len(files[name]), time, 0o755 if name in PROGRAMS else 0o644
            tar.addfile(entry, io.BytesIO(files[name]))
    return packed.getvalue()


def bill_of_materials(target: str, commit_time: str) -> bytes:
    """What cargo-cyclonedx lists of all that is built for the target, build scripts' needs left out."""
    with tempfile.TemporaryDirectory() as folder:
        name = "release-sbom"
        command = ["cargo", "cyclonedx", "--format", "json", "--spec-version", "1.5", "--target", target, "--no-build-deps", "--override-filename", name]
        subprocess.run(command, cwd=ROOT, check=True, env=dict(os.environ) | {"SOURCE_DATE_EPOCH": commit_time, "TMPDIR": folder})
        path = ROOT / f"{name}.json"
        try:
            # Where it was made says nothing of what is in it.
            return path.read_bytes().replace(str(ROOT).encode(), b"/build")
        finally:
            path.unlink()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def provenance(made: dict[str, bytes], commit: str, lock: bytes, rustc: dict[str, str]) -> dict:
    """What was built, from what, by what. Holds nothing of the machine, so that it is the same wherever it is made."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest(content)}} for name, content in sorted(made.items())],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://slsa.dev/provenance/v1#make-release",
                "externalParameters": {"target": "make release"},
                "internalParameters": {"rustc": rustc},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": commit}},
                    {"name": "Cargo.lock", "digest": {"sha256": digest(lock)}},
                ],
            },
            "runDetails": {"builder": {"id": "scripts/release.py"}},
        },
    }


def release(commit: str, commit_time: str) -> None:
    rustc = compiler()
    base, target = f"{NAME}-{version()}", rustc["host"]
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        files = build(pathlib.Path(folder), commit_time)
    files |= {name: (ROOT / name).read_bytes() for name in BESIDE}
    made = {
        f"{base}-{target}.tar.gz": archive(files, base, int(commit_time)),
        f"{base}.cdx.json": bill_of_materials(target, commit_time),
    }
    statement = provenance(made, commit, (ROOT / "Cargo.lock").read_bytes(), rustc)
    made[f"{base}.provenance.json"] = (json.dumps(statement, indent=2) + "\n").encode()
    made["SHA256SUMS"] = "".join(f"{digest(content)}  {name}\n" for name, content in sorted(made.items())).encode()
    DIST.mkdir(exist_ok=True)
    for name, content in made.items():
        (DIST / name).write_bytes(content)
        print(f"dist/{name}: {len(content)} bytes")


def again(commit_time: str) -> None:
    base = f"{NAME}-{version()}"
    path = DIST / f"{base}-{compiler()['host']}.tar.gz"
    if not path.exists():
        sys.exit(f"release: there is no {path.relative_to(ROOT)} to compare with; `make release` makes it")
    with tempfile.TemporaryDirectory(prefix="once-more-") as folder, tarfile.open(path) as tar:
        differing = [
            name for name, content in build(pathlib.Path(folder), commit_time).items()
            if (member := tar.extractfile(f"{base}/{name}")) is None or member.read() != content
        ]
    if differing:
        sys.exit(f"release: built again, these are not the same: {', '.join(differing)}")
    print("built again elsewhere, all programs are the same to the byte")


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a release in dist/.")
    parser.add_argument("--again", action="store_true", help="build the programs once more, elsewhere, and compare")
    arguments = parser.parse_args()
    if output("git", "status", "--porcelain", "--untracked-files=no"):
        sys.exit("release: a release is made of a commit, and there are changes that are not in one: commit or stash them")
    commit, commit_time = output("git", "log", "-1", "--format=%H %ct").split()
    if arguments.again:
        again(commit_time)
    else:
        release(commit, commit_time)


if __name__ == "__main__":
    main()
