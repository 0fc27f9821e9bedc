"""The text of a unit: pure, each group of settings with a comment that says what it is for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mmg.errors import ConfigError
from mmg.service.devices import Needs
from mmg.service.network import Network
from mmg.service.notify import one_line

MADE = "# Made by mmg-service."
"""How each unit begins that mmg-service may replace or remove."""
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
"""Of a service: also the name of its user and folder."""
COPY = ("/bin/sh", "-c", 'test -e "$1" || { cp -- "$0" "$1.new" && sync -- "$1.new" && mv -- "$1.new" "$1"; }')
"""Then a file, and what it becomes where nothing is: whole, also after a power cut."""
NEW_LINE = "\n"
WATCHDOG_S, WATCHDOG_HOPS = 30.0, 10
MODULES = {
    "char-ttyUSB": "usbserial",
    "char-ttyACM": "cdc_acm",
    "char-alsa": "snd",
    "char-iio": "industrialio",
    "char-video4linux": "videodev",
}
"""By which of the kernel's modules each class of devices comes to be."""
PLAIN = re.compile(r"[A-Za-z0-9_./:,=@+-]+")


@dataclass(frozen=True)
class Service:
    """command: mmg-run's path and words. sensors: their names. shown: folders and files to be seen though hidden.

    writes: folders outside of its own. state: its own, below /var/lib. secrets: name -> file. hop_s: of the bundle.
    memory_mib: the most that it may take. copies: file of its own -> the one that it begins as.
    is_logged: whether decisions go to the journal, having no other place.
    """

    name: str
    command: tuple[str, ...]
    sensors: tuple[str, ...]
    needs: Needs
    network: Network
    hop_s: float
    memory_mib: int
    shown: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    is_logged: bool = True

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"--name {self.name}: must be a-z, 0-9 and -, such as mmg or mmg-wrist")


def unit_text(service: Service) -> str:
    """The unit. Raises ConfigError for a word or path that a unit cannot hold."""
    parts = [_head(service), _run(service), _devices(service), _files(service), _network(service), RIGHTS]
    parts += [KERNEL, f"MemoryMax={service.memory_mib}M", INSTALL]
    return "\n".join(parts) + "\n"


def _head(service: Service) -> str:
    of = _text(", ".join(service.sensors))
    after = ["network-online.target"] * service.network.is_needed
    # systemd.resource-control(5), DeviceAllow: a class that is not there as it starts is not allowed later either.
    after += [f"modprobe@{MODULES[node]}.service" for node in service.needs.nodes if node in MODULES]
    lines = "".join(f"\nWants={unit}\nAfter={unit}" for unit in after)
    return f"""\
{MADE} mmg-service remove takes it away; docs/service.md explains it.
[Unit]
Description=mmg: what the wearer is doing, from {of}{lines}
# It never gives up: a sensor, disk or broker may come hours later.
StartLimitIntervalSec=0

[Service]"""


def _run(service: Service) -> str:
    watchdog_s = max(WATCHDOG_S, WATCHDOG_HOPS * service.hop_s)
    lines = [f"ExecStartPre={command_line((*COPY, path, own))}" for own, path in service.copies.items()]
    copies = "".join(f"\n{line}" for line in (BEGINS, *lines)) if lines else ""
    jack = "\nEnvironment=JACK_NO_START_SERVER=1" * ("audio" in service.needs.groups)
    return f"""\
# The run. It is ready when it begins to listen, and then its engine feeds the watchdog hop by hop: one that stands
# still is killed and started anew.
Type=notify
NotifyAccess=main{copies}
ExecStart={command_line(service.command)}
WorkingDirectory=/var/lib/{service.name}{jack}
WatchdogSec={watchdog_s:g}
TimeoutStartSec=180
TimeoutStopSec=15
Restart=always
RestartSec=5
{JOURNAL if service.is_logged else ELSEWHERE}
StandardError=journal
OOMScoreAdjust=-100
LimitCORE=0
"""


def _devices(service: Service) -> str:
    cameras = any("video4linux" in node for node in service.needs.nodes)
    told = "cameras are allowed, because --allow-video is among the flags." if cameras else "no camera is among them."
    lines = [f"DeviceAllow={node} rw" for node in service.needs.nodes]
    lines += [f"SupplementaryGroups={' '.join(service.needs.groups)}"] * bool(service.needs.groups)
    lines += ["# A chip on the board is switched on by writing to its folder."] * bool(service.needs.sysfs)
    lines += [f"ReadWritePaths=-{_path(folder)}" for folder in service.needs.sysfs]
    return f"""\
# Devices: those of its sensors, by class where that is theirs alone, so that one that is plugged in again under another
# number is still allowed; {told}
DevicePolicy=closed
{NEW_LINE.join(lines)}
"""


def _files(service: Service) -> str:
    shown = "".join(f"\nBindReadOnlyPaths={_bound(path)}" for path in service.shown)
    writes = "".join(f"\nReadWritePaths={_path(path)}" for path in service.writes)
    secrets = "".join(f"\nLoadCredential={name}:{_secret(path)}" for name, path in service.secrets.items())
    state = " ".join(_path(path) for path in service.state)
    return f"""\
# Files: a user of its own that exists while it runs, and one folder to write to. Of home and temporary folders it sees
# nothing but the Python that runs it and the files that its flags name.
DynamicUser=yes
StateDirectory={state}
StateDirectoryMode=0700
UMask=0077
ProtectSystem=strict
ProtectHome=tmpfs
PrivateTmp=yes{shown}{writes}{secrets}
"""


def _network(service: Service) -> str:
    network = service.network
    if not network.is_needed:
        return """\
# Network: none.
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
IPAddressDeny=any
"""
    allowed = f"IPAddressDeny=any\nIPAddressAllow={' '.join(network.allowed)}\n" if network.allowed else ""
    return f"""\
# Network: for {_text(network.why)}{"" if allowed else ", at whatever address"}.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
{allowed}"""


RIGHTS = """\
# No rights, and no way to get any.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
"""

KERNEL = """\
# The kernel: the calls of an ordinary service, and nothing of it to be changed.
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
PrivateMounts=yes
KeyringMode=private
RemoveIPC=yes

# Its share of the machine.
TasksMax=128"""

INSTALL = """
[Install]
WantedBy=multi-user.target"""


BEGINS = "# What it writes to begins as a copy of what its flags name, and is kept from then on."
JOURNAL = """\
# Decisions have no other place than the journal.
StandardOutput=journal"""
ELSEWHERE = """\
# Decisions go where --to says, and only notes to the journal.
StandardOutput=null"""


def command_line(words: Iterable[str]) -> str:
    """Words as ExecStart= reads them (systemd.service(5), "Command lines"). Raises ConfigError."""
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    _refuse_unwritable(word)
    if not PLAIN.fullmatch(word):
        word = '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return word.replace("%", "%%").replace("$", "$$")


def _path(path: str) -> str:
    """A path among others. Raises ConfigError."""
    _refuse_unwritable(path)
    if set("\"'\\") & set(path):
        raise ConfigError(f"{path}: a path with a quote or a backslash cannot be in a unit: rename it")
    return (path if PLAIN.fullmatch(path) else f'"{path}"').replace("%", "%%")


def _bound(path: str) -> str:
    if ":" in path:
        raise ConfigError(f"{path}: a path with a colon cannot be in a unit: rename it")
    return _path(path)


def _secret(path: str) -> str:
    """It is the rest of its line: quotes would belong to it."""
    return _path(path).strip('"')


def _refuse_unwritable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{text!r}: is no UTF-8, as a unit must be: rename it") from error
    if not text or not text.isprintable():
        raise ConfigError(f"{text!r}: is empty or has a line break or control character, which a unit cannot hold")


def _text(text: str) -> str:
    return one_line(text).replace("%", "%%")
