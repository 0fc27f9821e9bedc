"""Models that nobody vouches for are tried in a process of their own, which takes the blow."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_models import CHANNELS, COUNT, bomb, endless, write_bad_bundle
from fakes import (
    audio_modality,
    fusion_model,
    mean_encoder,
    signal_modality,
    tiny_files,
    tiny_manifest,
    write_tiny_bundle,
)
from goldens import write_golden_bundle
from mmg import Bundle, Engine
from mmg.bundle import describe_file, write_bundle
from mmg.bundle.verify import Checked, check_files
from mmg.errors import BundleError, ModelError, ShapeMismatch
from mmg.trial import memory, process
from mmg.trial.known import Known, key_of
from msgspec.structs import replace


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is known, and little time is given."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(process, "LEAST_S", 0.5)
    monkeypatch.setattr(process, "PACE", 0.0)
    return tmp_path / "caches" / "mmg" / "tried"


def refusal(path: Path, *names: str) -> str:
    with Bundle.open(path) as bundle, pytest.raises(ModelError) as caught:
        Engine(bundle, names or ("imu", "audio"))
    return str(caught.value)


def verified(path: Path) -> dict[str, Checked]:
    with Bundle.open(path) as bundle:
        return {one.path: one for one in check_files(bundle, lambda _: None)}


def test_an_endless_loop_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_bad_bundle(tmp_path / "bundle", endless())
    assert refusal(path) == f"bundle {path}: imu.onnx: did not end within 0.5 s of processor time"


def test_a_memory_bomb_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_bad_bundle(tmp_path / "bundle", bomb())
    limit = memory.memory_bytes() >> 20
    assert refusal(path) == f"bundle {path}: imu.onnx: asks for more than {limit} MiB of memory"


def test_what_a_run_does_not_open_is_not_tried(tmp_path: Path) -> None:
    with Bundle.open(write_bad_bundle(tmp_path / "bundle", endless())) as bundle:
        assert Engine(bundle, ["audio"]).modalities == ("audio",)


def test_a_bad_model_keeps_no_other_from_being_told(tmp_path: Path) -> None:
    checked = verified(write_bad_bundle(tmp_path / "bundle", endless()))
    assert checked.pop("imu.onnx") == Checked(
        "imu.onnx", "failed", "did not end within 0.5 s of processor time", "onnx", "fp32", refused=True
    )
    assert {one.result for one in checked.values()} == {"hashed"}


def test_a_model_that_is_not_the_manifests_keeps_its_fields(tmp_path: Path) -> None:
    path = write_bad_bundle(tmp_path / "bundle", mean_encoder(COUNT + 1, CHANNELS))
    with Bundle.open(path) as bundle, pytest.raises(ShapeMismatch) as caught:
        Engine(bundle, ["imu"])
    assert (caught.value.name, caught.value.expected, caught.value.got, caught.value.place) == (
        "imu encoder, input samples",
        [1, COUNT, CHANNELS],
        [1, COUNT + 1, CHANNELS],
        f"bundle {path}: imu.onnx",
    )


# --- a library that does what it is told ----------------------------------------------------------------------------

LIBRARY = """
import os, signal, socket, sys, threading, time
from pathlib import Path
class Interpreter:
    def __init__(self, model_content, num_threads):
        sys.stdout.write("a line of the library's\\n" * 1000); sys.stdout.flush()
        os.write(2, b"another\\n" * 1000)
        what = bytes(model_content[20:]).decode()
        exec(what)
        raise ValueError("done")
"""
HEAD = b"\x0c\0\0\0TFL3\x04\0\x04\0\x04\0\0\0" + bytes(4)
"""Of a TFLite file: a table without anything in it."""


@pytest.fixture
def doing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """What is said of a model whose library does this."""
    package = tmp_path / "libraries" / "ai_edge_litert"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "ai_edge_litert", raising=False)

    def told(what: str) -> str:
        data = HEAD + textwrap.dedent(what).encode()
        modality = signal_modality()
        file = describe_file("litert", "fp32", "imu.tflite", data)
        modality = replace(modality, encoder=replace(modality.encoder, files=(file,)))
        fusion = describe_file("litert", "fp32", "fusion.tflite", HEAD)
        manifest = tiny_manifest(modality)
        manifest = replace(manifest, fusion=replace(manifest.fusion, files=(fusion,)))
        path = tmp_path / "does.mmg"
        write_bundle(path, manifest, {"imu.tflite": data, "fusion.tflite": HEAD})
        with Bundle.open(path) as bundle, pytest.raises(ModelError) as caught:
            Engine(bundle, ["imu"], backend="litert")
        place, _, why = str(caught.value).partition("imu.tflite: ")
        assert place == f"bundle {path}: "
        return why

    return told


ENDS = {
    "os.kill(os.getpid(), signal.SIGSEGV)": "crashes what runs it (signal 11)",
    "os.abort()": "crashes what runs it (signal 6)",
    "os.kill(os.getpid(), signal.SIGKILL)": "was killed by the kernel: there is not the memory for it",
    "os._exit(0)": "ends what runs it (exit code 0)",
    "while True: pass": "did not end within 0.5 s of processor time",
    "raise MemoryError": "asks for more than {limit} MiB of memory",
    "bytearray(100 << 30)": "asks for more than {limit} MiB of memory",
    "raise ValueError('first\\x1b[2J\\nsecond')": "LiteRT cannot load it: first?[2J",
    "raise KeyboardInterrupt": "crashes what runs it (signal 2)",
    "raise OSError('of no kind that is known')": "cannot be run: OSError: of no kind that is known",
}


@pytest.mark.parametrize("what", ENDS)
def test_however_a_library_ends_it_is_one_line(doing: Callable[[str], str], what: str) -> None:
    assert doing(what) == ENDS[what].format(limit=memory.memory_bytes() >> 20)


def test_a_model_that_waits_for_ever_is_given_up(doing: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "WALL", 0.4)
    assert doing("threading.Event().wait()") == "did not end within 0.2 s"


def test_the_child_writes_no_file_and_opens_no_more_than_a_few(tmp_path: Path, doing: Callable[[str], str]) -> None:
    kept = tmp_path / "kept"
    kept.write_text("precious")
    refused = ("File too large", "Permission denied")  # by its limits; by Landlock, where that is, before them
    assert any(text in doing(f"Path({str(tmp_path / 'new')!r}).write_text('x')") for text in refused)
    assert any(text in doing(f"os.write(os.open({str(kept)!r}, os.O_WRONLY), b'more')") for text in refused)
    assert "Too many open files" in doing("them = [open('/dev/null') for _ in range(20)]")
    assert kept.read_text() == "precious"


def test_the_child_has_none_of_our_environment(doing: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "1")
    assert doing("raise ValueError('SECRET_OF_OURS' in os.environ)") == "LiteRT cannot load it: False"


def test_the_child_is_gone_when_the_engine_is_made(tmp_path: Path) -> None:
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    before = listed.read_text()
    with Bundle.open(write_tiny_bundle(tmp_path / "bundle", signal_modality())) as bundle:
        Engine(bundle, ["imu"])
    assert listed.read_text() == before


@pytest.mark.parametrize(("limit", "allowed"), [("max", 2048), (str(512 << 20), 320), (str(64 << 20), 64)])
def test_a_service_has_what_its_unit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, allowed: int
) -> None:
    monkeypatch.setattr(memory, "_board_bytes", lambda: 8 << 30)
    (tmp_path / "own").write_text("1:name=systemd:/\n0::/system.slice/mmg.service\n")
    folder = tmp_path / "groups" / "system.slice" / "mmg.service"
    folder.mkdir(parents=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    assert memory.memory_bytes(tmp_path / "own", tmp_path / "groups") == allowed << 20


def test_a_small_board_keeps_half_of_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_board_bytes", lambda: 512 << 20)
    assert memory.memory_bytes(tmp_path / "none", tmp_path) == 256 << 20


# --- who is trusted, and what is known -------------------------------------------------------------------------------


def told_of(path: Path, *names: str) -> list[str]:
    told: list[str] = []
    with Bundle.open(path, tell=told.append) as bundle:
        Engine(bundle, names or ("imu",))
    return told


def test_what_was_tried_is_told_with_its_seconds_and_known_from_then_on(tmp_path: Path, caches: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle", signal_modality(), audio_modality())
    [line] = told_of(path)
    assert re.match(r"tried 2 model files of bundle /.* in [\d.]+ s", line)
    assert line.endswith(" s: known from now on")
    assert len(list(caches.iterdir())) == 2
    assert told_of(path) == []
    [line] = told_of(path, "imu", "audio")
    assert re.match(r"tried 1 model file of bundle /.* in [\d.]+ s", line)


def test_another_model_other_inputs_another_library_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiny_bundle(tmp_path / "bundle", signal_modality())
    assert told_of(path)
    other = signal_modality(mean_encoder(COUNT, CHANNELS, scale=2.0))
    manifest = tiny_manifest(other)
    write_bundle(
        tmp_path / "other", manifest, tiny_files(manifest) | {"imu.onnx": mean_encoder(COUNT, CHANNELS, scale=2.0)}
    )
    assert "tried 1 model file" in told_of(tmp_path / "other")[0]
    assert "tried 2 model files" in told_of(write_golden_bundle(tmp_path / "golden", signal_modality()))[0]
    monkeypatch.setattr("mmg.trial.known.version", lambda _: "99.0")
    assert "tried 2 model files" in told_of(path)[0]


def test_what_was_refused_is_not_known(tmp_path: Path, caches: Path) -> None:
    path = write_bad_bundle(tmp_path / "bundle", bomb())
    assert refusal(path, "imu") == refusal(path, "imu")
    assert not caches.exists()


def test_a_note_of_another_user_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiny_bundle(tmp_path / "bundle", signal_modality())
    assert told_of(path)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert told_of(path)


def test_where_nothing_can_be_kept_it_is_tried_each_time_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = write_tiny_bundle(tmp_path / "bundle", signal_modality())
    for _ in range(2):
        [line] = told_of(path)
        assert line.endswith(f" s: at every start: {tmp_path}/file/mmg/tried cannot be written: Not a directory")


def test_a_service_keeps_what_is_known_in_the_folder_that_systemd_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/state:{tmp_path}/more")
    assert Known().place == tmp_path / "state" / "tried"
    monkeypatch.setenv("CACHE_DIRECTORY", f"{tmp_path}/cache")
    assert Known().place == tmp_path / "cache" / "tried"


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "nowhere")
    known = Known()
    assert not known.has(key_of("onnx", "0" * 64, b""))
    assert known.add(key_of("onnx", "0" * 64, b"")) == "there is no folder for caches"


def test_a_bundle_that_is_signed_by_whom_we_trust_is_not_tried(tmp_path: Path, caches: Path) -> None:
    pytest.importorskip("nacl")
    from mmg.bundle.keys import make_keys, read_private_key
    from mmg.bundle.writer import sign_bundle

    make_keys(str(tmp_path / "ours"))
    path = write_tiny_bundle(tmp_path / "bundle", signal_modality())
    sign_bundle(path, read_private_key(tmp_path / "ours.key"))
    [note, *_] = caches.iterdir()
    note.unlink()
    told: list[str] = []
    with Bundle.open(path, trust=tmp_path / "ours.pub", tell=told.append) as bundle:
        Engine(bundle, ["imu"])
    assert told == []


def test_the_starter_is_not_tried_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(Path(sys.modules["mmg"].__path__[0]) / "starter")
    for name in ("starter", tmp_path / "link"):
        with Bundle.open(name) as bundle:
            assert bundle.trusted


def test_a_model_that_cannot_be_run_is_not_signed(tmp_path: Path) -> None:
    pytest.importorskip("nacl")
    from mmg.bundle.keys import make_keys, read_private_key
    from mmg.bundle.writer import sign_bundle

    make_keys(str(tmp_path / "ours"))
    path = write_bad_bundle(tmp_path / "bundle", endless())
    with pytest.raises(ModelError, match=r"imu\.onnx: did not end within"):
        sign_bundle(path, read_private_key(tmp_path / "ours.key"))
    assert not (path / "manifest.sig").exists()


def test_a_file_that_was_altered_is_told_as_such(tmp_path: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle", signal_modality())
    with Bundle.open(path) as bundle:
        (path / "fusion.onnx").write_bytes(fusion_model()[::-1])
        with pytest.raises(BundleError, match="SHA-256"):
            bundle.require_tried(bundle.manifest.files())


def test_golden_inputs_that_are_not_there_are_zeros(tmp_path: Path) -> None:
    path = write_golden_bundle(tmp_path / "bundle", signal_modality())
    (path / "golden.npz").write_bytes(b"something else")
    assert "tried 2 model files" in told_of(path)[0]


def test_a_bundle_that_nobody_can_try_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiny_bundle(tmp_path / "bundle", signal_modality())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    assert refusal(path, "imu").startswith("models cannot be tried here: ")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert refusal(path, "imu").startswith("models cannot be tried here: loading onnxruntime in a child ends ")
