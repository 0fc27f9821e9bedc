#!/bin/sh
# Run pytest with these arguments on every Python from 3.10 to 3.13 that is here, each in a virtual environment of its own:
# .venvs/3.10 and so on. pythons.sh [PYTEST-ARGUMENT ...]
set -u
here=$(pwd)

# A shim of pyenv's for a version that is not chosen is found and does not run; Debian's own may lack venv.
works() { "$1" -c "import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, $2))" 2>/dev/null; }

# The one on the path, or the newest of pyenv's.
find_python() {
    newest=$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$1".*/bin/python 2>/dev/null | sort -V | tail -n 1)
    for python in "python3.$1" $newest; do
        if works "$python" "$1"; then
            echo "$python"
            return
        fi
    done
}

tried=0 failed=0 absent=
for minor in 10 11 12 13; do
    python=$(find_python $minor)
    if [ -z "$python" ]; then
        absent="$absent 3.$minor"
        continue
    fi
    tried=$((tried + 1)) venv=.venvs/3.$minor log=.venvs/3.$minor.log
    version=$("$python" -c 'import platform; print(platform.python_version())')
    mkdir -p .venvs
    if ! sh .ci/install.sh test "$python" "$venv"; then
        failed=$((failed + 1))
        echo "Python $version: cannot be tried, see above"
        continue
    fi
    if "$venv/bin/python" -m pytest "$@" >"$log" 2>&1; then
        echo "Python $version: $(tail -n 1 "$log")"
    else
        failed=$((failed + 1))
        grep -E '^(FAILED|ERROR) ' "$log" >&2 || tail -n 20 "$log" >&2
        echo "Python $version: $(tail -n 1 "$log"); all of it is in $here/$log"
    fi
done

[ -z "$absent" ] || echo "not on this machine:$absent"
if [ $tried = 0 ]; then
    echo "no Python from 3.10 to 3.13 that can make virtual environments was found" >&2
    exit 1
fi
echo "$((tried - failed)) of $tried Pythons pass"
[ $failed = 0 ]
