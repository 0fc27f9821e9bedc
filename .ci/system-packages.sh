#!/bin/sh
# What the tests need besides Python packages: strace, which shows what a run opens, PortAudio for the microphone, and
# a browser, in which pages are looked at, and a broker.
set -eu
missing=
command -v strace >/dev/null 2>&1 || missing="$missing strace"
ldconfig -p 2>/dev/null | grep -q libportaudio.so.2 || missing="$missing libportaudio2"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing system packages:$missing ..." >&2
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null && exit 0
fi
echo "the tests want system packages that are not there (those tests will skip): sudo apt-get install$missing" >&2
