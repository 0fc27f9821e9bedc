#!/bin/sh
# Install this project with some extras into .venv, unless that was done already: install.sh EXTRAS PYTHON [VENV]
# A .venv that cannot run, was made elsewhere or for another pyproject.toml is brought up to date or made anew.
set -eu
extras=$1 python=$2 here=$(pwd) venv=${3:-.venv}

made_for="$here $("$python" -c 'import sys; print(sys.executable, sys.version_info[:2])' 2>/dev/null || true)"
# A .venv of which a file is gone can be the Python that it was made with, into which nothing is to be installed.
is_apart() { [ "$("$venv/bin/python" -c 'import sys; print(sys.prefix)' 2>/dev/null)" -ef "$here/$venv" ]; }

# A .venv that somebody made here by hand is kept.
if ! [ -e "$venv/.made-for" ] && is_apart; then
    printf '%s' "$made_for" > "$venv/.made-for"
fi

if ! [ -w . ]; then
    echo "$here cannot be written to: copy the project to a folder of your own" >&2
    exit 2
fi
if ! is_apart || [ "$(cat "$venv/.made-for" 2>/dev/null)" != "$made_for" ] \
    || ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    if ! command -v "$python" >/dev/null 2>&1; then
        echo "there is no $python: install Python 3.10 to 3.13, or name one: make PYTHON=python3.12 ..." >&2
        exit 2
    fi
    if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))'; then
        echo "$("$python" --version) is not 3.10 to 3.13: name another, as in make PYTHON=python3.12 ..." >&2
        exit 2
    fi
    echo "making $venv with $("$python" --version) ..." >&2
    rm -rf "$venv"
    if ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        echo "this Python cannot make virtual environments: sudo apt-get install python3-venv" >&2
        exit 2
    fi
    printf '%s' "$made_for" > "$venv/.made-for"
fi

# A run writes nowhere, its own modules' caches included: without this they would be compiled at each start.
precompile() { "$venv/bin/python" -m compileall -q runtime device_profiles training export batch tools fleet; }

# The mark is written after an install that ended well, and names what was installed.
mark="$venv/.installed-$extras" bare=.ci/without-dependencies.txt
wanted=$(cat pyproject.toml "$bare" | cksum)
needed='import mmg, mmg_device_profiles, msgspec, numpy, serial, soundfile, soxr
try: import onnxruntime
except ImportError: import ai_edge_litert'
if "$venv/bin/python" -c "$needed" 2>/dev/null; then
    if [ "$(cat "$mark" 2>/dev/null)" = "$wanted" ]; then precompile; exit; fi
    if [ "$extras" != dev ] && [ "$(cat "$venv/.installed-dev" 2>/dev/null)" = "$wanted" ]; then precompile; exit; fi
fi

install() {
    PIP_REQUIRE_VIRTUALENV=1 PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install --quiet "$@" || {
        echo "the install failed: see above; is the network there? Then run the same command again." >&2
        exit 2
    }
}
case $extras in
    dev) sh .ci/system-packages.sh; echo "installing what the tests need, torch among it (minutes the first time) ..." >&2 ;;
    test) sh .ci/system-packages.sh; echo "installing what the quick tests need, without torch ..." >&2 ;;
    *) echo "installing the device part ($extras), without torch ..." >&2 ;;
esac
install --editable ".[$extras]"
[ "$extras" != dev ] || install --no-deps --requirement "$bare"
precompile
printf '%s' "$wanted" > "$mark"
