"""The same batch on Ray: equal tables, and one line where there is no cluster or it goes away.

A node that is killed is tried by ``python -m mmg_tools.batches --ray``: two nodes are too slow to start for a test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batches import assert_same, batch, command, poison, recordings

pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")


def test_a_local_cluster_makes_the_same_tables_and_survives_a_recording(
    walks: Path, short: Path, tmp_path: Path
) -> None:
    environment = poison(tmp_path, short / "imu.csv")
    words = (walks, "poison://crash.csv", "poison://whole.csv")
    alone = batch(*words, "-o", tmp_path / "alone", **environment)
    assert alone.returncode == 0, alone.stderr
    done = batch(*words, "-o", tmp_path / "ray", "--ray", "local", **environment)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "alone", tmp_path / "ray")
    assert recordings(tmp_path / "ray")["crash.csv"]["problem"] == "it crashed its process (signal 11)"


def test_a_cluster_that_is_not_there_is_told_in_one_line(short: Path, tmp_path: Path) -> None:
    done = batch(short, "-o", tmp_path / "results", "--ray", "127.0.0.1:1")
    assert done.returncode == 3
    line = done.stderr.splitlines()[-1]  # after progress, where Ray is slow to load
    assert line.startswith("mmg-batch: the Ray cluster 127.0.0.1:1 cannot be reached: ")


def test_a_driver_that_ray_ends_is_a_cluster_that_went_away(short: Path, tmp_path: Path) -> None:
    words = command(short, "-o", tmp_path / "results", "--ray", "local")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end_s = time.monotonic() + 60
        while not (found := children.read_text().split()):
            assert process.poll() is None
            assert time.monotonic() < end_s
            os.sched_yield()
        os.kill(int(found[0]), signal.SIGKILL)
        _, told = process.communicate()
    assert process.returncode == 3
    why = "mmg-batch: the Ray cluster local went away with 1 recording to go: the same command decides them"
    assert told.splitlines()[-1] == why


def test_without_ray_the_flag_says_what_to_install(short: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['ray'] = None; from mmg_batch.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, *command(short, "-o", tmp_path / "results", "--ray", "local")[3:]]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "ray, which --ray needs, is not installed" in done.stderr
