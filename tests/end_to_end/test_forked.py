"""A forked command does what one that was started does, so that the tests may fork."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import forked
import pytest
import recordings
from fakes import write_tiny_bundle


@pytest.mark.parametrize(
    "words",
    [
        ("--sensors", "imu,audio", "--demo", "--duration", "3"),
        ("--demo", "--profile", "toaster"),
        ("--demo", "--durations", "3"),
        ("--help",),
    ],
    ids=["decides", "refuses", "misspelt", "help"],
)
def test_it_prints_and_ends_as_one_that_was_started(words: tuple[str, ...]) -> None:
    one, other = forked.mmg_run(*words), recordings.mmg_run(*words)
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    assert one.stdout or one.stderr


def test_it_begins_in_the_folder_and_with_the_environment_that_it_is_given(tmp_path: Path) -> None:
    forked.mmg("bundle", "keygen", "ours", cwd=tmp_path)
    assert (tmp_path / "ours.key").exists()
    bundle, caches = write_tiny_bundle(tmp_path / "tiny"), tmp_path / "caches"
    done = forked.mmg("bundle", "verify", bundle, environment=os.environ | {"XDG_CACHE_HOME": str(caches)})
    assert done.returncode == 0, done.stderr
    assert any(caches.iterdir())


def test_one_that_does_not_end_is_ended_and_the_next_one_runs() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        forked.mmg_run("--demo", "--sensors", "imu", "--pace", "realtime", timeout_s=1)
    assert forked.mmg("bundle", "inspect", "starter").returncode == 0
