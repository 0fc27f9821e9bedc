"""Build deploy/Containerfile without a container engine, and decide in what it makes: as root, on Debian.

Its steps run one by one in roots that debootstrap makes; then its entry point decides on the demo with the file's user,
a read-only root, no network and no sensor. ``make container`` runs it (some minutes).

MMG_CONTAINER_ROOT: where all of it is written (~/.cache/mmg-container).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = Path(os.environ.get("MMG_CONTAINER_ROOT", Path.home() / ".cache/mmg-container"))
SUITE = "bookworm"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
DECISIONS = 149
INSIDE = """
set -eu
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$1/dev/${node%:*}" c 1 "${node#*:}"; done
ln -s /proc/self/fd "$1/dev/fd"
"""


@dataclass
class Stage:
    """A root in the making."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    workdir: str = "/"
    entry: list[str] = field(default_factory=list)

    def run(self, command: list[str], *, network: bool, sealed: bool = False) -> subprocess.CompletedProcess[str]:
        """In namespaces of its own, with nothing but the plainest devices. sealed: as its user, on a read-only root."""
        setup = INSIDE
        if sealed:
            setup += 'mount -t tmpfs tmpfs "$1/tmp"\n'
            setup += f'mount -t tmpfs -o uid={self.user.split(":")[0]},mode=700 tmpfs "$1{self.workdir}"\n'
            setup += 'mount -o remount,bind,ro "$1"\n'
        user = f"--reuid={self.user.split(':')[0]} --regid={self.user.split(':')[1]} --clear-groups"
        drop = f"setpriv {user} --no-new-privs --bounding-set=-all --inh-caps=-all" if sealed else ""
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.environment.items())
        setup += f'root=$1; shift; exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ {variables} '
        setup += (
            f'LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PIP_CERT={CERTIFICATES} {drop} env -C {self.workdir} "$@"'
        )
        unshare = ["unshare", "--mount", "--pid", "--fork", *([] if network else ["--net"])]
        words = [*unshare, "sh", "-c", setup, "sh", str(self.folder), *command]
        return subprocess.run(words, capture_output=True, text=True, check=False)


def main() -> int:
    """Build, try, and return the exit code: 0 all of it held, 1 it did not, 2 it could not be tried."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        print("make container: needs root and debootstrap: sudo apt-get install debootstrap", file=sys.stderr)
        return 2
    ROOT.mkdir(parents=True, exist_ok=True)
    stage = build((HERE / "deploy/Containerfile").read_text())
    demo = stage.run([*stage.entry, "--sensors", "imu", "--demo", "--format", "jsonl"], network=False, sealed=True)
    labels = [json.loads(line)["label"] for line in demo.stdout.splitlines()]
    print(f"decided {len(labels)} times as {stage.user}, with a read-only root: {demo.stderr.strip().splitlines()[-1]}")
    written = stage.run(["/usr/bin/touch", "/etc/x", f"{stage.workdir}/x"], network=False, sealed=True)
    print(f"writing: {written.stderr.strip()}")
    held = len(labels) == DECISIONS and written.stderr.count("Read-only") == 1
    print("all of it held" if held else "not all of it held")
    return 0 if held else 1


def build(text: str) -> Stage:
    """The last stage of a Containerfile, of the instructions that ours has."""
    stages: dict[str, Stage] = {}
    stage = Stage(ROOT)
    for line in text.splitlines():
        instruction, _, rest = line.partition(" ")
        if not instruction or instruction.startswith("#") or instruction == "VOLUME":
            continue
        print(line, flush=True)
        if instruction == "FROM":
            name = rest.partition(" AS ")[2] or "last"
            stage = stages[name] = Stage(fresh(ROOT / name))
        elif instruction == "COPY":
            copy(stages, stage, rest.split())
        elif instruction == "RUN":
            done = stage.run(["sh", "-c", rest], network=True)
            if done.returncode:
                raise SystemExit(f"make container: {rest}: {done.stderr.strip()[-2000:]}")
        elif instruction == "ENV":
            name, _, value = rest.partition("=")
            stage.environment[name] = value
        elif instruction == "USER":
            stage.user = rest
        elif instruction == "WORKDIR":
            stage.workdir = rest
        elif instruction == "ENTRYPOINT":
            stage.entry = json.loads(rest)
        else:
            raise SystemExit(f"make container: does not know {instruction}")
    return stage


def fresh(folder: Path) -> Path:
    """A new root of Debian; the first is kept to be copied."""
    base = ROOT / "base"
    if not (base / "usr/bin/apt-get").exists():
        print(f"debootstrap {SUITE} ...", flush=True)
        words = ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(base)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["cp", "-a", str(base), str(folder)], check=True)
    for path in ("/etc/resolv.conf", CERTIFICATES):  # what reaches a package index here reaches it from inside
        shutil.copy(path, folder / path.lstrip("/"))
    return folder


def copy(stages: dict[str, Stage], stage: Stage, words: list[str]) -> None:
    """From another stage, or of what git keeps of this checkout all that an engine would take."""
    target = stage.folder / words[-1].lstrip("/")
    if words[0].startswith("--from="):
        source = stages[words[0].removeprefix("--from=")].folder / words[1].lstrip("/")
        shutil.copytree(source, target, symlinks=True)
        return
    target.mkdir()
    taken = [line[1:] for line in (HERE / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    archive = subprocess.run(["git", "archive", "HEAD", *taken], cwd=HERE, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive, check=True)


if __name__ == "__main__":
    sys.exit(main())
