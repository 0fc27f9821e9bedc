"""From what mmg-run is told to what its unit says."""

from __future__ import annotations

import grp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.service.devices import Needs, needs_of
from mmg.service.hidden import python_folders, run_command, shown
from mmg.service.network import SERVERS, network_of
from mmg.service.places import STATE, check_readable, place
from mmg.service.unit import Service, unit_text
from mmg.sinks.url import SinkUrl
from mmg.sources import is_live, open_port

if TYPE_CHECKING:
    from mmg.bundle import Manifest

LEAST_MIB, OTHERS_MIB, FILE_TIMES = 512, 256, 4
"""A run of the starter takes under 100 MiB (docs/performance.md); a model takes some times the size of its file."""


@dataclass(frozen=True)
class Plan:
    """A unit's text, and lines for a person about it."""

    text: str
    notes: tuple[str, ...]


def plan(
    name: str,
    words: Sequence[str],
    sensors: Mapping[str, str],
    manifest: Manifest,
    sinks: Sequence[SinkUrl],
    *,
    allow_video: bool,
    folder: Path,
) -> Plan:
    """The unit of ``mmg-run WORDS``. sensors: name -> URL, "" of one that is looked for at each start.

    folder: from where relative paths count. Raises ConfigError, SourceError.
    """
    kinds = {modality.name: modality.kind for modality in manifest.modalities}
    needs, missing = _with_groups(needs_of(sensors, kinds, allow_video=allow_video))
    places = place(words, name, folder, teaches=any(sink.scheme in SERVERS for sink in sinks))
    network = network_of(sinks, needs.hosts)
    command, python = run_command(), python_folders()
    check_readable(Path(command), "mmg-run is")
    for each in shown(python):
        check_readable(Path(each), "Python is in")
    service = Service(
        name=name,
        command=(command, *places.words),
        sensors=tuple(sensors),
        needs=needs,
        network=network,
        hop_s=manifest.hop_s,
        memory_mib=_memory_mib(manifest),
        shown=shown([*python, *places.reads]),
        writes=tuple(map(str, places.writes)),
        state=tuple(places.state),
        secrets={secret: str(path) for secret, path in places.secrets.items()},
        copies={str(own): str(path) for own, path in places.copies.items()},
        is_logged=not sinks,
    )
    notes = [*needs.notes, *places.notes, *missing]
    notes += [f"devices: {', '.join(needs.nodes) or 'none'}", f"files: writes below {STATE / name}"]
    notes += [f"network: {network.why or 'none'}", f"video: {'allowed' if allow_video else 'off'}"]
    return Plan(unit_text(service), tuple(notes))


def check_ports(manifest: Manifest, sensors: Mapping[str, str], *, allow_video: bool) -> None:
    """Raises ConfigError or BackendUnavailable where a port cannot be as its URL asks, or its library is missing."""
    for name, url in sensors.items():
        if url and is_live(url):
            open_port(url, manifest.modality(name), allow_video=allow_video)


def _with_groups(needs: Needs) -> tuple[Needs, list[str]]:
    """Without the groups that this system does not have, for which systemd would not start it."""
    known = {group.gr_name for group in grp.getgrall()}
    lacking = [group for group in needs.groups if group not in known]
    groups = tuple(group for group in needs.groups if group in known)
    notes = [f"there is no group {group} here: make one that may open the device" for group in lacking]
    return Needs(needs.nodes, groups, needs.hosts, needs.sysfs, needs.notes), notes


def _memory_mib(manifest: Manifest) -> int:
    mib = sum(file.bytes for file in manifest.stored()) / 2**20
    return max(LEAST_MIB, round(OTHERS_MIB + FILE_TIMES * mib))
