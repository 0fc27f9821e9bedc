"""Opening a serial port for this process alone, and nothing that is none."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import termios
from pathlib import Path
from typing import Any

from mmg.errors import SourceError, SourceNotFound
from mmg.privacy.doorkeeper import device_at
from mmg.sources.ports.serial.library import load_pyserial
from mmg.sources.ports.serial.line import GONE, NETWORK, POLL_S, check_device

VIDEO_MAJOR, PTY_MAJORS = 81, range(136, 144)
"""Of the device nodes of cameras and of pseudo terminals (Documentation/admin-guide/devices.txt of Linux)."""
SYSFS = Path("/sys/dev/char")


def open_serial(device: str, baud: int, url: str, *, dtr: bool | None = None, rts: bool | None = None) -> Any:
    """A pyserial port for this process alone, with a read timeout of ``POLL_S``; close it.

    device: a path, or one of NETWORK. url: how errors name it. dtr, rts: how to set these lines, where not as they
    usually are. Raises ConfigError, BackendUnavailable, SourceNotFound, SourceError; their ``__cause__`` is pyserial's
    error.
    """
    check_device(device, url)
    serial = load_pyserial(url)
    _refuse_others(device, url)
    try:
        with device_at(device) as place:
            if NETWORK.fullmatch(device):
                from mmg.sources.ports.serial.network import network_port

                port = network_port(device, baudrate=baud, timeout=POLL_S)
            else:
                port = serial.serial_for_url(place, baudrate=baud, timeout=POLL_S, exclusive=True, do_not_open=True)
            if dtr is not None:
                port.dtr = dtr
            if rts is not None:
                port.rts = rts
            port.open()
    except (*GONE, ValueError) as error:
        raise _translated(error, device, url) from error
    # A nicety of some UART drivers: ptys, network ports and other systems do not have it.
    with contextlib.suppress(AttributeError, OSError, ValueError, NotImplementedError):
        port.set_low_latency_mode(True)
    return port


def _refuse_others(device: str, url: str) -> None:
    """Opening is an act: a camera must not be switched on, nor a watchdog or a disk touched, to find it is no port.

    Raises SourceNotFound, SourceError.
    """
    if "://" in device:
        return
    try:
        found = Path(device).stat()
    except OSError as error:
        raise _translated(error, device, url) from error
    number = os.major(found.st_rdev), os.minor(found.st_rdev)
    subsystem = SYSFS / f"{number[0]}:{number[1]}" / "subsystem"
    if subsystem.exists():
        is_port = subsystem.resolve().name == "tty"
    else:  # a pty, or nothing is known of any device
        is_port = number[0] in PTY_MAJORS or (not SYSFS.is_dir() and number[0] != VIDEO_MAJOR)
    if not stat.S_ISCHR(found.st_mode) or not is_port:
        raise SourceError(url, f"cannot be opened: {device} is not a serial port")


def _translated(error: Exception, device: str, url: str) -> SourceError:
    """pyserial often gives the cause away only as the context of its own error."""
    root = error.__context__ if isinstance(error.__context__, (OSError, termios.error)) else error
    if isinstance(root, termios.error):
        code, why = root.args
    else:
        code, why = getattr(root, "errno", None), getattr(root, "strerror", None) or root
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return SourceNotFound(url, f"there is no such device as {device}")
    if code in (errno.EACCES, errno.EPERM):
        return SourceError(url, "no permission: sudo usermod -aG dialout $USER, then log in again")
    if code in (errno.EBUSY, errno.EAGAIN):  # from TIOCEXCL, as others do; from flock, as pyserial does
        return SourceError(url, "in use by another program")
    if code == errno.ENOTTY:
        return SourceError(url, f"cannot be opened: {device} is not a serial port")
    return SourceError(url, f"cannot be opened: {why}")
