"""Made USB devices: a sysfs tree of plain files, and a symbolic link to a terminal in place of each serial port."""

from __future__ import annotations

from pathlib import Path


class UsbTree:
    """What stands in for ``/sys`` and ``/dev``, below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.terminals = root / "sys/class/tty"
        self.terminals.mkdir(parents=True)
        (root / "dev").mkdir(exist_ok=True)

    def plug(
        self,
        name: str,
        socket: str,
        terminal: str = "/dev/null",
        *,
        vendor: str = "1a86",
        product: str = "7523",
        serial: str = "",
        interface: str = "00",
    ) -> Path:
        """A converter in this socket whose port is called ``name``; returns the port's path."""
        device = self.root / "sys/devices/usb1" / socket
        place = device / f"{socket}:1.{int(interface, 16)}" / name
        place.mkdir(parents=True)
        (place.parent / "bInterfaceNumber").write_text(f"{interface}\n")
        for file, text in (("idVendor", vendor), ("idProduct", product), ("serial", serial)):
            if text:
                (device / file).write_text(f"{text}\n")
        (self.terminals / name).mkdir()
        (self.terminals / name / "device").symlink_to(place)
        node = self.root / "dev" / name
        node.symlink_to(terminal)
        return node

    def unplug(self, name: str) -> None:
        """Its port is gone, and its place is free."""
        link = self.terminals / name / "device"
        link.resolve().rename(self.root / f"gone-{len(list(self.root.glob('gone-*')))}")
        link.unlink()
        link.parent.rmdir()
        (self.root / "dev" / name).unlink()
