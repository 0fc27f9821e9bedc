"""Which sensors are taught with: those of which the device may keep something."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from mmg.cli.sensors import find_sensors
from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg_device_profiles import Profile

    from mmg.bundle import Manifest


def sensors_to_keep(
    options: argparse.Namespace,
    named: dict[str, str],
    profile: Profile,
    manifest: Manifest,
    report: Callable[[str], None],
) -> dict[str, str]:
    """The URLs of those of which the device may keep something. Raises ConfigError where there is none."""
    urls = find_sensors(options, named, profile, manifest, report)
    kept = {name: url for name, url in urls.items() if manifest.modality(name).kind in profile.privacy.record}
    may = f"privacy.record of profile {profile.name} allows {', '.join(profile.privacy.record) or 'nothing'}"
    if not kept:
        lacking = {manifest.modality(name).kind for name in urls}
        needs = _recording(options, [*profile.privacy.record, *sorted(lacking)])
        them = "it" if len(urls) == 1 else "them"
        raise ConfigError(f"{', '.join(urls)}: nothing may be taught with {them}, as examples are kept: {may}: {needs}")
    for name in urls:
        if name not in kept:
            report(f"{name} is left out, as examples are kept: {may}")
    return kept


def _recording(options: argparse.Namespace, kinds: list[str]) -> str:
    """What to type so that these kinds of sensor may be recorded: ``--set`` cannot widen what a file allows."""
    value = f"privacy.record={json.dumps(kinds)}"
    if any("".join(one.partition("=")[0].split()) in ("privacy", "privacy.record") for one in options.set):
        return f"give --set {shlex.quote(value)}"
    return f"write record = {json.dumps(kinds)} under [privacy] there"
