"""Certificates for a test, made by openssl on the spot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CONFIG = """\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[localhost]
subjectAltName = DNS:localhost
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
[elsewhere]
subjectAltName = DNS:elsewhere.example
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
"""


class Authority:
    """Signs certificates; ``certificate`` is its own. The test skips where openssl is missing."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed: sudo apt-get install openssl")
        self._folder, self.certificate = folder, folder / "authority.pem"
        (folder / "openssl.cnf").write_text(CONFIG)
        self._make("authority")

    def sign(self, host: str) -> tuple[Path, Path]:
        """A certificate for ``localhost`` or ``elsewhere``, and its key."""
        self._make(host, "-CA", str(self.certificate), "-CAkey", str(self._folder / "authority.key"))
        return self._folder / f"{host}.pem", self._folder / f"{host}.key"

    def _make(self, name: str, *words: str) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-config", "openssl.cnf")
        command = ["openssl", "req", "-x509", *key, *files, "-extensions", name, "-subj", f"/CN={name}", *words]
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True, timeout=60)
        (self._folder / f"{name}.key").chmod(0o600)
