# How tests/servers/start, tests/schedulers/start and tests/browser/start, which source this, install packages.
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

# Installs the npm packages of a folder's package-lock.json into another folder, unless they are there already.
install_npm_packages() {
    local source=$1 folder=$2 program name
    for program in node npm; do
        command -v "$program" >/dev/null || die "$program is not on the PATH" \
            'hint: apt-get install nodejs npm, or install Node.js 18 or later in another way'
    done
    # As above: the copy of the lock is put there last.
    if [[ -d $folder/node_modules ]] && cmp -s "$source/package-lock.json" "$folder/installed-lock.json"; then
        return
    fi
    # npm ci deletes the node_modules that it finds.
    name=$(grep '"name":' "$source/package.json")
    if [[ -e $folder/package.json ]] && ! grep -qF "$name" "$folder/package.json"; then
        die "$folder holds a package of its own" 'hint: name a directory for these tests only'
    fi
    echo "$0: installing $source/package-lock.json into $folder" >&2
    mkdir -p "$folder"
    rm -f "$folder/installed-lock.json"
    cp "$source/package.json" "$source/package-lock.json" "$folder/"
    # The scripts of packages are not needed, so they need not be trusted.
    (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null)
    cp "$source/package-lock.json" "$folder/installed-lock.json"
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
