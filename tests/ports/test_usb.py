"""Which USB device is behind a serial port, on a fake sysfs tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmg.errors import ConfigError, SourceError, SourceNotFound
from mmg.sources.ports.serial.usb import UsbIdentity, find_usb, identify
from ports.usb_tree import UsbTree

URL = "serial:///dev/ttyUSB0"


@pytest.fixture
def tree(tmp_path: Path) -> UsbTree:
    return UsbTree(tmp_path)


def identity_of(tree: UsbTree, path: Path) -> UsbIdentity:
    found = identify(str(path), tree.root)
    assert found is not None
    return found


def test_a_device_is_known_by_its_serial_number_and_without_one_by_its_socket(tree: UsbTree) -> None:
    with_serial = tree.plug("ttyUSB0", "1-1.2", vendor="0403", product="6001", serial="A50285BI")
    without = tree.plug("ttyACM0", "1-1.3", interface="02")
    assert str(identity_of(tree, with_serial)) == "0403:6001:00:A50285BI"
    assert str(identity_of(tree, without)) == "1a86:7523:02:@1-1.3"
    assert identify(str(tree.root / "dev/ttyS0"), tree.root) is None
    assert identify("socket://host:4000", tree.root) is None


@pytest.mark.parametrize("text", ["1a86:7523", "0403:6001:00:A50285BI", "1a86:7523:02:@1-1.3", "0403:6001::A:B@C"])
def test_an_identity_is_read_back_from_its_text(text: str) -> None:
    assert str(UsbIdentity.parse(text, URL)) == text


@pytest.mark.parametrize("text", ["1a86", "1a86:75231", "arduino", "1a86:7523:0", "/dev/ttyUSB0"])
def test_what_is_no_identity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"serial:///dev/ttyUSB0: usb=.*such as 1a86:7523"):
        UsbIdentity.parse(text, URL)


def test_a_stable_name_leads_to_the_device_behind_it(tree: UsbTree) -> None:
    port = tree.plug("ttyUSB0", "1-1", serial="7")
    link = tree.root / "dev/serial/by-id/usb-1a86_7-if00-port0"
    link.parent.mkdir(parents=True)
    real = tree.root / "real/ttyUSB0"
    real.parent.mkdir()
    real.touch()
    link.symlink_to(real)
    assert identify(str(link), tree.root) == identify(str(port), tree.root)


def test_a_device_is_found_under_its_new_name_and_the_stranger_under_its_old_one_is_not_taken(tree: UsbTree) -> None:
    path = tree.plug("ttyUSB0", "1-1", serial="MINE")
    mine = identity_of(tree, path)
    assert find_usb(mine, str(path), tree.root, URL) == str(path)
    tree.unplug("ttyUSB0")
    with pytest.raises(SourceNotFound, match=rf"there is no such device as {path}, nor any that is 1a86:7523:00:MINE"):
        find_usb(mine, str(path), tree.root, URL)
    tree.plug("ttyUSB0", "1-2", serial="OTHER")
    with pytest.raises(SourceNotFound, match=rf"MINE is not plugged in: {path} is another device, 1a86:7523:00:OTHER"):
        find_usb(mine, str(path), tree.root, URL)
    again = tree.plug("ttyUSB1", "1-1", serial="MINE")
    assert find_usb(mine, str(path), tree.root, URL) == str(again)


def test_of_two_alike_without_serial_numbers_only_the_one_in_its_socket_is_taken(tree: UsbTree) -> None:
    path = tree.plug("ttyUSB0", "1-1")
    tree.plug("ttyUSB1", "1-2")
    mine = identity_of(tree, path)
    tree.unplug("ttyUSB0")
    with pytest.raises(SourceNotFound):
        find_usb(mine, str(path), tree.root, URL)
    again = tree.plug("ttyUSB2", "1-1")
    assert find_usb(mine, str(path), tree.root, URL) == str(again)


def test_the_ports_of_one_converter_are_told_apart_by_their_interfaces(tree: UsbTree) -> None:
    first = tree.plug("ttyUSB0", "1-1", product="6011", serial="FT4", interface="00")
    second = tree.plug("ttyUSB1", "1-1", product="6011", serial="FT4", interface="01")
    assert find_usb(identity_of(tree, second), str(first), tree.root, URL) == str(second)


def test_a_description_that_fits_two_names_both(tree: UsbTree) -> None:
    paths = [tree.plug(f"ttyUSB{n}", f"1-{n + 1}") for n in range(2)]
    with pytest.raises(SourceError, match=f"more than one USB device is 1a86:7523: {paths[0]}, {paths[1]}"):
        find_usb(UsbIdentity.parse("1a86:7523", URL), "/dev/imu", tree.root, URL)


def test_where_the_kernel_tells_nothing_the_path_is_all_there_is(tmp_path: Path) -> None:
    assert find_usb(UsbIdentity.parse("1a86:7523", URL), "/dev/ttyUSB0", tmp_path, URL) == "/dev/ttyUSB0"
