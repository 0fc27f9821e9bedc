"""Which microphone a URL means: the same one for as long as the run lasts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmg.errors import SourceError, SourceNotFound

CARDS = Path("/sys/class/sound")
CARD = re.compile(r" \(hw:(\d+),\d+\)\Z")
"""How PortAudio ends the name of a card's device (pa_linux_alsa.c). A card's number is another after a replug."""


class Microphone(NamedTuple):
    """A device that records. ``number`` (PortAudio's index) and ``name`` both go into a URL; ``rate_hz`` is its own."""

    number: int
    name: str
    channels: int
    rate_hz: float


def bare_name(name: str) -> str:
    """Without the number of its card."""
    return CARD.sub("", name)


def address(device: Microphone, there: Sequence[Microphone]) -> str:
    """What means it, in a URL's path: its name without its card's number where nothing else has it, else with it.

    Its number where no name tells it apart from the others, or one would mean something else.
    """
    names = [bare_name(one.name) for one in there], [one.name for one in there]
    for name, all_names in zip((bare_name(device.name), device.name), names, strict=True):
        if name and not name.isdecimal() and name != "default" and all_names.count(name) == 1:
            return name
    return str(device.number)


class Meant:
    """The device that a URL's path means: ``default``, a number, or a name or part of one.

    A number, of PortAudio's or of a card, is that of the first device that is found with it: from then on this one is
    meant, whatever has its number later.
    """

    def __init__(self, url: str, text: str, cards: Path = CARDS) -> None:
        """url: how errors name it. cards: where the kernel shows which port each card is plugged into."""
        self._url, self._text, self._cards = url, text, cards
        self._by_number = text.isdecimal() or re.search(r"\bhw:\d", text) is not None
        self._kept: _Kept | None = None

    def find(self, there: Sequence[Microphone], default: int | None) -> Microphone:
        """default: the number of the system's default. Raises SourceNotFound, and SourceError where several match."""
        if self._kept is not None:
            return self._find_again(self._kept, there)
        if self._text == "default":
            found = [device for device in there if device.number == default]
        elif self._text.isdecimal():
            found = [device for device in there if device.number == int(self._text)]
        else:
            found = _named(self._text, there)
        if len(found) != 1:
            names = ", ".join(f"{device.number} is {device.name!r}" for device in found or there) or "there is none"
            if found:
                raise SourceError(self._url, f"several match: give more of the name, or the number: {names}")
            raise SourceNotFound(self._url, f"not plugged in ({names})")
        if self._by_number:
            alike = [device for device in there if bare_name(device.name) == bare_name(found[0].name)]
            self._kept = _Kept(found[0].name, self._place(found[0]), has_twin=len(alike) > 1)
        return found[0]

    def _find_again(self, kept: _Kept, there: Sequence[Microphone]) -> Microphone:
        """Of two that are called the same, the one in the same port of the machine; another may be the twin."""
        alike = [device for device in there if bare_name(device.name) == bare_name(kept.name)]
        found = [device for device in alike if self._place(device) == kept.place]
        if len(found) != 1 and len(alike) == 1 and not kept.has_twin:
            found = alike
        if len(found) == 1:
            return found[0]
        others = ", ".join(f"{device.number} is {device.name!r} now" for device in there) or "there is none"
        raise SourceNotFound(self._url, f"not plugged in: it means {kept.name!r} as found at the start ({others})")

    def _place(self, device: Microphone) -> str:
        """The port that its card is plugged into, as far as the kernel shows it; else its whole name."""
        card = CARD.search(device.name)
        link = self._cards / f"card{card[1]}" / "device" if card else None
        return str(link.resolve()) if link is not None and link.exists() else device.name


class _Kept(NamedTuple):
    """The device that a number meant. has_twin: whether another of the same name was there."""

    name: str
    place: str
    has_twin: bool


def _named(text: str, there: Sequence[Microphone]) -> list[Microphone]:
    """Those of this name, else of this name but for the card's number, else, where it has none, with this in theirs."""
    exact = [device for device in there if device.name == text]
    alike = exact or [device for device in there if bare_name(device.name) == bare_name(text)]
    if alike or CARD.search(text):
        return alike
    return [device for device in there if text.lower() in device.name.lower()]
