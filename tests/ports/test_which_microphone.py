"""Which microphone a URL means, when cards get other numbers and devices come back in another order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mmg.errors import SourceError, SourceNotFound
from mmg.sources.ports.microphone.device import Meant, Microphone, address
from mmg.sources.ports.microphone.port import MicrophonePort
from mmg_tools.virtual.microphone import AlsaMicrophone
from ports.microphone.sounds import RATE_HZ, SOUND, Listener, until
from recordings import need_ports

USB, BUILT_IN, OTHER = "USB Audio: - (hw:1,0)", "HDA Intel: ALC (hw:0,0)", "USB Audio Device: - (hw:2,0)"


def mics(*names: str) -> list[Microphone]:
    return [Microphone(number, name, 2, 48000.0) for number, name in enumerate(names)]


def name_of(meant: Meant, *names: str, default: int | None = None) -> str:
    return meant.find(mics(*names), default).name


def cards(root: Path, **places: str) -> Path:
    """What the kernel shows: ``card1="1-1.2"`` is plugged into that port of the machine."""
    for card, place in places.items():
        (root / "devices" / place).mkdir(parents=True, exist_ok=True)
        (root / card).mkdir(exist_ok=True)
        (root / card / "device").unlink(missing_ok=True)
        (root / card / "device").symlink_to(root / "devices" / place)
    return root


@pytest.mark.parametrize("text", ["USB Audio: -", USB, "usb audio:", "USB Audio: - (hw:7,0)"])
def test_a_name_means_the_same_device_under_another_cards_number(text: str) -> None:
    meant = Meant("mic://x", text)
    for names in ((BUILT_IN, USB, OTHER), (BUILT_IN, USB.replace("hw:1", "hw:3"), OTHER)):
        assert name_of(meant, *names).startswith("USB Audio: - ")


def test_a_whole_name_is_never_taken_for_a_part_of_another() -> None:
    with pytest.raises(SourceNotFound):
        name_of(Meant("mic://x", "USB Audio (hw:1,0)"), OTHER)
    assert name_of(Meant("mic://x", "USB Audio"), OTHER) == OTHER


def test_every_address_means_its_device() -> None:
    there = mics(USB, OTHER, "twin (hw:3,0)", "twin (hw:4,0)", "same", "same", "7", "", "default", "USB Audio: -")
    for device in there:
        assert Meant("mic://x", address(device, there)).find(there, None) == device


@pytest.mark.parametrize("text", ["1", "hw:1,0"])
def test_a_number_means_the_device_that_it_meant_first_and_never_another(text: str) -> None:
    meant = Meant(f"mic://{text}", text)
    assert name_of(meant, BUILT_IN, USB) == USB
    with pytest.raises(SourceNotFound) as caught:
        name_of(meant, BUILT_IN, "stranger (hw:1,0)")
    assert str(caught.value) == (
        f"mic://{text}: not plugged in: it means {USB!r} as found at the start "
        f"(0 is {BUILT_IN!r} now, 1 is 'stranger (hw:1,0)' now)"
    )
    assert name_of(meant, BUILT_IN, "stranger (hw:1,0)", "USB Audio: - (hw:2,0)") == "USB Audio: - (hw:2,0)"


def test_a_number_that_nothing_has_yet_means_the_first_that_gets_it() -> None:
    meant = Meant("mic://1", "1")
    with pytest.raises(SourceNotFound):
        name_of(meant, BUILT_IN)
    assert name_of(meant, BUILT_IN, USB) == USB
    assert name_of(meant, USB, BUILT_IN) == USB


def test_of_two_twins_the_one_in_the_same_port_of_the_machine_is_meant(tmp_path: Path) -> None:
    meant = Meant("mic://1", "1", cards(tmp_path, card1="1-1.2", card2="1-1.3"))
    left, right = "twin (hw:1,0)", "twin (hw:2,0)"
    assert name_of(meant, BUILT_IN, left, right) == left
    cards(tmp_path, card1="1-1.3", card2="1-1.2")  # unplugged both, plugged in again the other way round
    assert name_of(meant, BUILT_IN, left, right) == right
    cards(tmp_path, card1="1-1.3", card2="1-1.3")
    with pytest.raises(SourceNotFound):
        name_of(meant, BUILT_IN, left)


def test_a_twin_alone_is_not_taken_where_the_kernel_does_not_tell_them_apart() -> None:
    meant = Meant("mic://1", "1", Path("/nowhere"))
    assert name_of(meant, BUILT_IN, "twin (hw:1,0)", "twin (hw:2,0)") == "twin (hw:1,0)"
    with pytest.raises(SourceNotFound):
        name_of(meant, BUILT_IN, "twin (hw:2,0)")


def test_the_default_follows_the_system() -> None:
    meant = Meant("mic://default", "default")
    assert name_of(meant, BUILT_IN, USB, default=1) == USB
    assert name_of(meant, BUILT_IN, USB, default=0) == BUILT_IN
    with pytest.raises(SourceNotFound):
        name_of(meant, BUILT_IN, USB)


def test_a_part_that_fits_several_asks_for_more() -> None:
    with pytest.raises(SourceError, match="several match: give more of the name, or the number: 0 is 'USB Audio: -"):
        name_of(Meant("mic://usb", "usb"), USB, OTHER)


need_ports()


class Desk:
    """Two microphones whose order is what the configuration says at the time."""

    def __init__(self, folder: Path) -> None:
        self.config, self._parts = folder / "both.conf", {}
        self.mics = {}
        for name in ("deskmic", "wristmic"):
            (folder / name).mkdir()
            sound = np.random.default_rng(len(name)).integers(-3000, 3000, 4 * RATE_HZ).astype(np.int16)
            self.mics[name] = AlsaMicrophone(folder / name, sound, name=name, loop=True)
            self._parts[name] = self.mics[name].config.read_text().partition("pcm.!default")[0]
            self.mics[name].plug()

    def order(self, *names: str) -> None:
        """They are there, in this order; the rest of them is not."""
        parts = [self._parts[name] for name in names] + ["pcm.!default { type null }\n"]
        self.config.write_text("".join(parts))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk(tmp_path)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(made.config))
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    yield made
    for mic in made.mics.values():
        mic.close()


def test_a_port_keeps_to_the_microphone_that_its_number_meant(desk: Desk) -> None:
    listener = Listener()
    desk.order("deskmic", "wristmic")
    port: MicrophonePort = listener.open("mic://1", SOUND)
    listener.hear(0.1)
    assert port.status.device == "wristmic, 16000 Hz, 1 ch"
    desk.order("deskmic")  # and so number 1 is another's
    desk.mics["wristmic"].stall()
    until(lambda: port.status.reason.startswith("not plugged in: it means 'wristmic' as found at the start"))
    desk.mics["wristmic"].resume()
    desk.order("wristmic", "deskmic")
    until(lambda: port.status.connected)
    assert port.status.device == "wristmic, 16000 Hz, 1 ch"
    port.close()
