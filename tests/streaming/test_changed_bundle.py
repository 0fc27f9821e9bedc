"""A bundle that is changed while a run goes on costs the sensors whose models were not loaded yet, and nothing else."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from fakes import HOP_S, audio_modality, mean_encoder, signal_modality, write_tiny_bundle
from mmg.bundle import Bundle, Modality, describe_file
from mmg.errors import BundleError, RequiredSensorLost
from mmg.runs.live import LivePipeline
from mmg.runs.settings import Settings
from msgspec.structs import replace
from recordings import DEMO, ROOT
from scripted import CONNECTED, World


def alter(bundle: Path, file: str) -> None:
    (bundle / file).write_bytes(mean_encoder(4000, 1, scale=2.0))


def cut(bundle: Path, file: str) -> None:
    (bundle / file).write_bytes((bundle / file).read_bytes()[:-1])


def delete(bundle: Path, file: str) -> None:
    (bundle / file).unlink()


def replace_folder(bundle: Path, _file: str) -> None:
    shutil.rmtree(bundle)
    write_tiny_bundle(bundle, signal_modality())


def delete_folder(bundle: Path, _file: str) -> None:
    shutil.rmtree(bundle)


def cut_zip(bundle: Path, _file: str) -> None:
    with bundle.open("r+b") as stream:
        stream.truncate(100)


def overwrite_zip(bundle: Path, _file: str) -> None:
    with bundle.open("r+b") as stream:
        stream.write(b"\0" * bundle.stat().st_size)


Change = Callable[[Path, str], None]
CHANGES: list[tuple[str, Change]] = [
    ("tiny", alter),
    ("tiny", cut),
    ("tiny", delete),
    ("tiny", replace_folder),
    ("tiny", delete_folder),
    ("tiny.mmg", cut_zip),
    ("tiny.mmg", overwrite_zip),
]


def large_audio() -> tuple[Modality, bytes]:
    """Larger than what Python reads ahead of a file, and not to be compressed."""
    audio = audio_modality()
    model = onnx.load_from_string(mean_encoder(4000, 1))
    model.doc_string = random.Random(0).randbytes(200_000).hex()
    data = bytes(model.SerializeToString())
    encoder = replace(audio.encoder, files=(describe_file("onnx", "fp32", "audio.onnx", data),))
    return replace(audio, encoder=encoder), data


class Changed:
    """A live run of an IMU, and of a microphone that is silent until the bundle was changed."""

    def __init__(self, path: Path, *, required: tuple[str, ...] = ()) -> None:
        audio, data = large_audio()
        self.path = write_tiny_bundle(path, signal_modality(), audio, audio=data)
        self.world, self.notes = World(("imu", "audio")), list[str]()
        for port in self.world.ports:
            port.status = CONNECTED
        self.bundle = Bundle.open(self.path)
        settings, clock = Settings(required=required), lambda: self.world.now_ns
        self.run = LivePipeline(self.bundle, self.world.ports, settings, report=self.notes.append, monotonic_ns=clock)
        self.run.start()
        self.talk(imu=True, audio=False)

    def talk(self, **talking: bool) -> None:
        for name, is_on in talking.items():
            self.world.sensors[name].talking = is_on


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_sensor_that_comes_after_the_change_is_faulty_and_the_others_go_on(
    name: str, change: Change, tmp_path: Path
) -> None:
    changed = Changed(tmp_path / name)
    assert list(changed.world.run(changed.run, 2.0))
    change(changed.path, "audio.onnx")
    changed.talk(audio=True)
    made = list(changed.world.run(changed.run, 4.0))
    assert np.allclose(np.diff([decision.t_s for decision in made]), HOP_S), "no hop is left out"
    assert {decision.modalities for decision in made} == {("imu",)}
    audio = made[-1].sensors["audio"]
    assert audio.state == "faulty"
    assert audio.reason.startswith(f"it has no model any more: bundle {changed.path}: audio.onnx: ")
    assert sum("it has no model any more" in note for note in changed.notes) == 1
    changed.run.close()
    changed.bundle.close()


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_sensor_whose_model_is_loaded_goes_and_comes_again_as_before(
    name: str, change: Change, tmp_path: Path
) -> None:
    changed = Changed(tmp_path / name)
    changed.talk(audio=True)
    list(changed.world.run(changed.run, 2.0))
    change(changed.path, "audio.onnx")
    changed.talk(audio=False)
    list(changed.world.run(changed.run, 2.0))
    changed.talk(audio=True)
    assert list(changed.world.run(changed.run, 2.0))[-1].modalities == ("imu", "audio")
    changed.bundle.close()


def test_a_required_sensor_that_has_no_model_any_more_ends_the_run(tmp_path: Path) -> None:
    changed = Changed(tmp_path / "tiny", required=("audio",))
    list(changed.world.run(changed.run, 2.0))
    delete(changed.path, "audio.onnx")
    changed.talk(audio=True)
    with pytest.raises(RequiredSensorLost, match="audio: it has no model any more"):
        list(changed.world.run(changed.run, 2.0))


def test_a_run_of_which_no_sensor_has_a_model_any_more_ends(tmp_path: Path) -> None:
    changed = Changed(tmp_path / "tiny")
    changed.talk(imu=False)
    list(changed.world.run(changed.run, 2.0))
    shutil.rmtree(changed.path)
    changed.talk(audio=True)
    assert list(changed.world.run(changed.run, 2.0)) == []
    changed.talk(imu=True)
    with pytest.raises(BundleError, match="imu"):
        list(changed.world.run(changed.run, 2.0))


def test_a_fusion_that_was_changed_before_the_run_ends_it_at_once(tmp_path: Path) -> None:
    path = write_tiny_bundle(tmp_path / "tiny", signal_modality())
    with Bundle.open(path) as bundle:
        cut(path, "fusion.onnx")
        with pytest.raises(BundleError, match="fusion"):
            LivePipeline(bundle, World(("imu",)).ports, Settings())


def test_mmg_run_goes_on_without_a_sound_whose_model_was_deleted_meanwhile(tmp_path: Path) -> None:
    shutil.copytree(DEMO.parent / "starter", tmp_path / "starter")
    urls = ("--imu", str(DEMO / "imu.csv"), "--audio", f"{DEMO / 'audio.ogg'}?offset=3")
    words = ("--bundle", str(tmp_path / "starter"), *urls, "--pace", "realtime", "--duration", "5")
    command = [sys.executable, "-m", "mmg.cli.run", *words, "--format", "jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        for path in (tmp_path / "starter").glob("**/*audio*"):
            path.unlink()
        out, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert len([first, *out.splitlines()]) == 10
    assert '"modalities":["imu"]' in out.splitlines()[-1]
    assert told.count("it has no model any more") == 2, "when it comes, and how it ended"
