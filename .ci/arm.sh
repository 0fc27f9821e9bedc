#!/usr/bin/env bash
# Run mmg as a Raspberry Pi would hold it: in Debian bookworm for aarch64, on its processor, emulated by qemu.
#
#   make arm              as root, on Debian for x86-64; some minutes more the first time
#   .ci/arm.sh --help     prints this
#
# Inside go the wheel and its aarch64 dependencies; then come the demo on both runtimes, held against what this machine
# decides with the same wheel, the verification of the starter bundle, and as many tests as the time allows. The exit
# code is 0 if all of it held, 1 if not, 2 if it could not be tried. Emulation tells whether mmg is right on aarch64,
# never how fast it is: no timing is taken from it. A machine that is aarch64 itself does the same without qemu.
#
#   MMG_ARM_ROOT      where all of it is written                        (~/.cache/mmg-arm)
#   MMG_ARM_TESTS_S   seconds for the tests; the rest is not run        (900)
#   MMG_DATA          real recordings; without them some tests skip     (../shared/data)
#   PYTHON            this machine's Python, to compare with            (python3)

set -euo pipefail

suite=bookworm
cpu=cortex-a76  # a Raspberry Pi 5's; libraries choose their code by it
packages=python3,python3-venv,ca-certificates,libportaudio2
extras=onnx,litert,serial,audio,sign,record
test_packages=(onnx pytest pytest-xdist hypothesis)
shown_packages="numpy|msgspec|onnxruntime|ai-edge-litert|soundfile|soxr|sounddevice|pyserial|pynacl"

# The quick suite's part that is run, in this order until the time is spent. None of it needs torch or a camera.
tests=(
    tests/streaming/test_{engine,offline,unknown,recordings}.py
    tests/unit/test_stream*.py
    tests/unit/test_health.py
    tests/ports/test_timing.py
    tests/ports/test_sample_clock.py
    tests/ports/test_protocol*.py
    tests/unit/test_bundle*.py
    tests/unit/test_source_{audio_file,table,url}.py
    tests/unit/test_{truth,sinks,board,energy,profile_reports}.py
    tests/ports/{test_{iio,port,discovery}.py,serial_port}
    tests/streaming/test_*.py
)
markers="not torch and not realtime and not installs"

# Tests that emulation cannot pass, each with the reason after two spaces; the summary names them.
left_out=(
    "tests/ports/test_protocol_parsers.py::test_parsing_keeps_up_with_a_hundred_devices  it is about speed"
    "tests/ports/test_protocol_text.py::test_a_line_that_nearly_fits_takes_no_longer_than_others  it is about speed"
    "tests/streaming/test_days.py  it plays hours of three sensors, for minutes each"
)

report() { printf '%2d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

stop() {
    echo "make arm: $*" >&2
    exit 2
}

check_machine() {
    [ "$(uname -s)" = Linux ] || stop "this needs Linux"
    [ "$(id -u)" = 0 ] || stop "this needs root, to mount and to chroot: sudo make arm"
    case $(uname -m) in
        aarch64) emulated="" tools=debootstrap ;;
        x86_64) emulated=yes tools="debootstrap qemu-user-static" ;;
        *) stop "this runs on x86-64 and on aarch64, not on $(uname -m)" ;;
    esac
    command -v "$python" >/dev/null || stop "there is no $python: name a Python, as in make arm PYTHON=python3.11"
    mkdir -p "$place"
}

check_tools() {
    if command -v debootstrap >/dev/null && { [ -z "$emulated" ] || [ -e "$registration" ]; }; then
        return
    fi
    command -v apt-get >/dev/null || stop "install these with this system's own tools: $tools"
    report "installing $tools ..."
    # shellcheck disable=SC2086 # they are words
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y $tools; } >"$place/apt.log" 2>&1 \
        || stop "see $place/apt.log for why this failed: apt-get update && apt-get install $tools"
}

# From here on the kernel starts aarch64 programs with qemu.
register_qemu() {
    local binfmt=/proc/sys/fs/binfmt_misc
    if [ -z "$emulated" ]; then
        machine="aarch64, this machine itself, nothing emulated"
        return
    fi
    [ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt \
        || stop "the kernel has no binfmt_misc: modprobe binfmt_misc"
    [ -e $binfmt/qemu-aarch64 ] || cat "$registration" >$binfmt/register
    machine="aarch64 ($cpu), emulated by $(qemu-aarch64-static --version | head -1), on $(uname -m)"
    # With flag F the kernel keeps qemu open; without, it looks for it inside the root.
    grep -q '^flags:.*F' $binfmt/qemu-aarch64 || interpreter=$(sed -n 's/^interpreter //p' $binfmt/qemu-aarch64)
}

# The first of this machine's own apt sources that has the suite for arm64; if none has, debootstrap takes its default.
find_mirror() {
    local uri
    # shellcheck disable=SC2016 # apt-get fills it in
    for uri in $(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sort -u); do
        if wget -q -t 1 -T 20 -O - "${uri%/}/dists/$suite/Release" | grep -q '^Architectures:.* arm64'; then
            echo "${uri%/}"
            return
        fi
    done
}

# The mark is written last: a root whose making was interrupted has none and is made anew.
make_root() {
    local wanted="$suite $packages"
    if [ "$(cat "$root.made" 2>/dev/null)" = "$wanted" ]; then
        report "Debian $suite for aarch64 is there"
        return
    fi
    report "making Debian $suite for aarch64 in $root ..."
    rm -rf --one-file-system "$root.made" "$place/installed" "$root"
    [ -z "$interpreter" ] || install -D "$interpreter" "$root$interpreter"
    # shellcheck disable=SC2046 # no mirror is no word
    debootstrap --arch=arm64 --variant=minbase --include="$packages" "$suite" "$root" $(find_mirror) \
        >"$place/debootstrap.log" 2>&1 || stop "debootstrap failed: see $place/debootstrap.log"
    printf '%s' "$wanted" >"$root.made"
}

mount_root() {
    mount -t proc proc "$root/proc"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    # /proc/cpuinfo is this machine's; with a /sys too, onnxruntime would look in it for Arm's processors and crash.
    [ -n "$emulated" ] || mount --rbind /sys "$root/sys"
    mkdir -p "$root/opt/mmg/data"
    if [ -d "$data" ]; then
        mount --bind -o ro "$data" "$root/opt/mmg/data"
    fi
}

# What reaches a package index here reaches it from inside: pip's settings, proxies, certificates. Of what these name,
# files are shown inside under the same name; folders are not, as wheels in them are for this machine.
pass_on_network() {
    local file
    mapfile -t passed_on < <(
        env | grep -iE '^((https?|all|no)_proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE)='
        echo "PIP_CERT=$certificates"
        "$host/bin/python" -m pip config list | sort -r \
            | sed -nE "s/^(global|install|:env:)\.([a-z-]+)='(.*)'$/PIP_\U\2\E=\3/; T; s/\\\\n/ /g
                       :dash; s/^([A-Z_]*)-/\1_/; t dash; p"
        printf '%s\n' PIP_ONLY_BINARY=:all: PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
    )
    # shellcheck disable=SC2068 # a setting may name several
    for file in /etc/resolv.conf /etc/hosts "$certificates" ${passed_on[@]#*=}; do
        if [[ $file = /* && -f $file ]]; then
            mkdir -p "$root${file%/*}"
            [ -e "$root$file" ] || touch "$root$file"
            mount --bind -o ro "$file" "$root$file"
        fi
    done
}

inside() {
    chroot "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/opt/mmg/venv/bin:/usr/bin:/bin QEMU_CPU=$cpu \
        "${passed_on[@]}" "$@"
}

# This machine gets the versions that are inside: else decisions could differ for another reason than the processor.
install_wheel() {
    local wanted wheel
    wanted="$(cksum <pyproject.toml) $("$python" --version) $extras ${test_packages[*]}"
    if [ "$(cat "$place/installed" 2>/dev/null)" != "$wanted" ]; then
        rm -rf --one-file-system "$place/installed" "$host" "$root/opt/mmg/venv"
        "$python" -m venv "$host" || stop "$python cannot make virtual environments: apt-get install python3-venv"
    fi
    rm -rf "$place/wheel"
    "$host/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$place/wheel" . \
        || stop "the wheel could not be built: see above"
    wheel=$(basename "$place"/wheel/*.whl)
    cp "$place/wheel/$wheel" "$root/opt/mmg/"

    report "installing $wheel inside ..."
    pass_on_network
    [ -e "$place/installed" ] || inside python3 -m venv /opt/mmg/venv
    # -qq: pip would warn of every folder that its settings name and that is not inside.
    inside pip install -qq "/opt/mmg/${wheel}[$extras]" "${test_packages[@]}" || stop "pip failed inside: see above"
    inside pip install -qq --no-deps --force-reinstall "/opt/mmg/$wheel"
    inside pip list --format=freeze | grep -v '^mmg' >"$place/versions"

    report "installing it here ..."
    "$host/bin/python" -m pip install -qq --constraint "$place/versions" "$place/wheel/${wheel}[$extras]" \
        || stop "pip failed: see above; a Python that has the same versions can be named: make arm PYTHON=python3.11"
    "$host/bin/python" -m pip install -qq --no-deps --force-reinstall "$place/wheel/$wheel"
    printf '%s' "$wanted" >"$place/installed"
}

# A step's result, for now and for the summary.
conclude() {
    report "$1: $2"
    summary+=("$(printf '%-10s %s' "$1" "$2")")
}

compare_decisions() {
    local sensors runtime files told
    for sensors in imu,audio imu audio; do
        for runtime in onnx litert; do
            files=$place/demo-$sensors-$runtime
            local options=(--sensors "$sensors" --demo --backend "$runtime" --format jsonl)
            if ! inside mmg-run "${options[@]}" >"$files-aarch64.jsonl" 2>"$files-aarch64.log" \
                || ! "$host/bin/mmg-run" "${options[@]}" >"$files-here.jsonl" 2>"$files-here.log"; then
                told="a run failed: see $files-*.log" failed=yes
            elif ! told=$("$host/bin/python" .ci/compare_decisions.py "$files"-{aarch64,here}.jsonl 2>&1); then
                failed=yes
            fi
            conclude "demo" "$sensors on $runtime: $told"
        done
    done
}

verify_starter() {
    inside mmg-bundle verify starter >"$place/verify.log" 2>&1 || failed=yes
    conclude "verify" "$(tail -1 "$place/verify.log")"
}

run_tests() {
    local source=$root/opt/mmg/source deselect=() entry
    for entry in "${left_out[@]}"; do
        deselect+=(--deselect "${entry%%  *}")
    done
    rm -rf "$source"
    mkdir "$source"
    cp -r tests pyproject.toml .ci/time_budget.py "$source/"
    report "running tests, for $budget_s s at most ..."
    # CI=true makes hypothesis patient with a slow machine. A test that hangs is ended by timeout.
    inside env --chdir=/opt/mmg/source PYTHONPATH=/opt/mmg/source MMG_DATA=/opt/mmg/data \
        CI=true MMG_TEST_BUDGET_S="$budget_s" timeout --foreground $((budget_s + 600)) \
        python -m pytest -rs -p no:cacheprovider -p time_budget -m "$markers" "${deselect[@]}" "${tests[@]}" 2>&1 \
        | tee "$place/tests.log" || failed=yes
    conclude "tests" "$(sed -nE 's/^([0-9]+ (passed|failed|error|skipped).*) in [0-9.]+s.*/\1/p' "$place/tests.log")"
    summary+=("$(sed -n 's/^not run: /           &/p' "$place/tests.log")")
    summary+=("${left_out[@]/#/           left out: }")
}

summarise() {
    printf '\n'
    printf '%-10s %s\n' machine "$machine" \
        system "Debian $(cat "$root/etc/debian_version"), $(inside python --version)" \
        packages "$(grep -iE "^($shown_packages)=" "$place/versions" | paste -sd' ')"
    printf '%s\n' "${summary[@]}" | sed '/^$/d'
    [ -z "$failed" ] || echo "NOT ALL OF IT HELD: the logs are in $place" >&2
}

if [ $# -gt 0 ]; then
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    [ "$1" = --help ] || exit 2
    exit 0
fi
cd "$(dirname "$0")/.."

python=${PYTHON:-python3} budget_s=${MMG_ARM_TESTS_S:-900} data=$(realpath -m "${MMG_DATA:-../shared/data}")
place=$(realpath -m "${MMG_ARM_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/mmg-arm}")
root=$place/debian-$suite-arm64 host=$place/this-machine
registration=/usr/lib/binfmt.d/qemu-aarch64.conf certificates=/etc/ssl/certs/ca-certificates.crt
interpreter='' failed='' summary=()

check_machine
# With mounts of its own: they are seen by nothing else, and are gone when the script is, however it ends.
if [ -z "${MMG_ARM_APART:-}" ]; then
    MMG_ARM_APART=yes exec unshare --mount bash "$PWD/.ci/arm.sh"
fi
trap 'exit 130' INT TERM
exec 9>"$place/lock"
flock --nonblock 9 || stop "another one is at work in $place"

check_tools
register_qemu
make_root
mount_root
install_wheel
compare_decisions
verify_starter
run_tests
summarise
[ -z "$failed" ]
