#!/usr/bin/env bash
# Sees to the tools that the targets of the Makefile need. What is missing is installed where that can be done without
# asking (Debian, as root; ~/.cargo/bin; Go's bin; environments of their own for Python), and named otherwise, with exit
# code 69. Nothing is ever skipped.
#
#   scripts/install-tools.sh GROUP...     groups: test cover deny mutants chart bench release
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO_LLVM_COV=0.9.1
CARGO_DENY=0.20.2
CARGO_MUTANTS=27.1.0
CARGO_CYCLONEDX=0.5.9
HELM=3.19.2
KUBECONFORM=0.7.0
# Helm takes its idea of the newest Kubernetes from the linker.
HELM_KUBERNETES=34
cache="${XDG_CACHE_HOME:-$HOME/.cache}/websocket-service"
venv="$cache/venv"
chart_venv="$cache/chart-venv"
bench_venv="$cache/bench-venv"
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

# python_is_ready FOLDER REQUIREMENTS
python_is_ready() {
    [ -x "$1/bin/python" ] && cmp -s "$2" "$1/requirements.txt"
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

# python_environment FOLDER REQUIREMENTS
python_environment() {
    python_is_ready "$1" "$2" && return 0
    say "making the Python environment $1"
    rm -rf "$1"
    python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check -r "$2" >&2
    cp "$2" "$1/requirements.txt"
}

# Go's bin need not be on the PATH; the Makefile adds it for itself.
go_tool() {
    PATH="$PATH:$(go env GOBIN):$(go env GOPATH)/bin"
    local name=$1 package=$2
    shift 2
    have "$name" && return 0
    say "installing $package with go"
    go install -trimpath "$@" "$package" >&2
}

promtool_is_there() {
    have promtool || [ -x "$cache/promtool/usr/bin/promtool" ]
}

# Installing Debian's package would start a Prometheus: the tool alone is taken out of it.
debian_promtool() {
    have apt-get && have dpkg-deb || return 1
    say "taking promtool out of Debian's prometheus"
    local folder
    folder=$(mktemp -d)
    [ "$(id -u)" != 0 ] || apt-get update -qq >&2
    (cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root prometheus >&2) &&
        mkdir -p "$cache/promtool" &&
        dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -x -C "$cache/promtool" ./usr/bin/promtool
    rm -rf "$folder"
    promtool_is_there
}

go_is_new_enough() {
    have go && [[ "$(go env GOVERSION)" =~ ^go1\.([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 26 ]
}

for group in "$@"; do
    case $group in
        test)
            want redis-server redis-server
            want redis-cli redis-tools
            chromium_command || packages+=(chromium fonts-dejavu-core)
            have python3 || packages+=(python3)
            python_is_ready "$venv" tests/requirements.txt || python_makes_venvs || packages+=(python3-venv)
            have node || packages+=(nodejs)
            ;;
        chart)
            have python3 || packages+=(python3)
            python_is_ready "$chart_venv" tests/chart/requirements.txt || python_makes_venvs || packages+=(python3-venv)
            ;;
        bench)
            want redis-server redis-server
            want taskset util-linux
            have node || packages+=(nodejs)
            have npm || packages+=(npm)
            have python3 || packages+=(python3)
            python_is_ready "$bench_venv" bench/requirements.txt || python_makes_venvs || packages+=(python3-venv)
            ;;
        cover) want llvm-cov-22 llvm-22 ;;
        deny | mutants) ;;
        release) have python3 || packages+=(python3) ;;
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
            python_environment "$venv" tests/requirements.txt
            node_has_websocket || missing+=("Node.js 20.10 or later (found $(node --version 2>/dev/null || echo none))")
            ;;
        # The peers are installed by bench/run.py, each by itself: one that cannot be had is named on the page.
        bench) python_environment "$bench_venv" bench/requirements.txt ;;
        cover) cargo_tool cargo-llvm-cov "$CARGO_LLVM_COV" ;;
        deny) cargo_tool cargo-deny "$CARGO_DENY" --no-default-features ;;
        mutants) cargo_tool cargo-mutants "$CARGO_MUTANTS" ;;
        release) cargo_tool cargo-cyclonedx "$CARGO_CYCLONEDX" ;;
        chart)
            python_environment "$chart_venv" tests/chart/requirements.txt
            have kubectl || missing+=("kubectl, for its kustomize")
            promtool_is_there || debian_promtool || missing+=("promtool, of Prometheus 2.42 or later: https://prometheus.io/download")
            if go_is_new_enough; then
                module=helm.sh/helm/v3/pkg
                go_tool helm "helm.sh/helm/v3/cmd/helm@v$HELM" -ldflags "-s -w -X $module/lint/rules.k8sVersionMajor=1 \
                    -X $module/lint/rules.k8sVersionMinor=$HELM_KUBERNETES -X $module/chartutil.k8sVersionMajor=1 \
                    -X $module/chartutil.k8sVersionMinor=$HELM_KUBERNETES"
                go_tool kubeconform "github.com/yannh/kubeconform/cmd/kubeconform@v$KUBECONFORM"
            else
                missing+=("Go 1.26 or later (found $(go env GOVERSION 2>/dev/null || echo none)): https://go.dev/dl")
            fi
            ;;
    esac
done
if [ ${#missing[@]} -gt 0 ]; then
    say "missing: ${missing[*]}"
    exit 69
fi
