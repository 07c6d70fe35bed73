# How tests/servers/start and tests/schedulers/start, which source this, install packages.
# shellcheck shell=bash

die() {
    printf '%s\n' "${@/#/$0: }" >&2
    exit 1
}

# Makes a Python environment with the packages of a file, unless it is there already.
make_venv() {
    local requirements=$1 venv=$2
    # A copy of the requirements, put there last, marks an environment as complete.
    if cmp -s "$requirements" "$venv/requirements.txt" && "$venv/bin/python" -c '' 2>/dev/null; then
        return
    fi
    command -v python3 >/dev/null || die 'python3 is not on the PATH' \
        'hint: install Python 3.11 or later, or set ASOF_TEST_PYTHON'
    # Debian ships venv without ensurepip, which fails only half way through.
    python3 -c 'import venv, ensurepip' 2>/dev/null || die 'this python3 cannot make virtual environments' \
        'hint: apt-get install python3-venv, or set ASOF_TEST_PYTHON'
    # Delete nothing but what venv made: the path may be the user's.
    if [[ -e $venv/pyvenv.cfg ]]; then
        rm -rf "$venv"
    fi
    echo "$0: installing $(basename "$requirements") into $venv" >&2
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2
    cp "$requirements" "$venv/requirements.txt"
}

# Installs packages of Debian, as root, or says what to install.
install_debian_packages() {
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        die "not installed: $*" "hint: sudo apt-get install $*"
    fi
    echo "$0: installing $*" >&2
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >&2
}

absolute() {
    local path=$1
    [[ $path == /* ]] || path="$PWD/$path"
    printf '%s' "$path"
}
