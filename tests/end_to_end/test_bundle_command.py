"""mmg-bundle as its users run it: what it prints, its exit codes, and mmg-run --trust."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import mean_encoder, signal_modality, tiny_files, tiny_manifest, write_tiny_bundle
from forked import mmg, mmg_run
from goldens import golden_manifest, write_golden_bundle
from mmg.bundle import Bundle, describe_file, write_bundle
from mmg.bundle.keys import make_keys, read_private_key, read_public_key
from mmg.bundle.manifest import Subset
from mmg.bundle.writer import describe_stored, sign_bundle
from msgspec.structs import replace
from recordings import ROOT

Done = subprocess.CompletedProcess[str]


def mmg_bundle(*arguments: object) -> Done:
    return mmg("bundle", *arguments, cwd=ROOT)


def in_shell(command: str) -> Done:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


@pytest.fixture(scope="module", autouse=True)
def known(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The models of the golden bundle are tried once, and the command no longer tells of it."""
    done = mmg_bundle("verify", write_golden_bundle(tmp_path_factory.mktemp("known") / "bundle"))
    assert done.returncode == 0, done.stderr


def assert_refused(done: Done, code: int, text: str, command: str = "mmg-bundle") -> None:
    """One line on standard error, which holds this text, and nothing else."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"{command}: ")
    assert done.stderr.count("\n") == 1
    assert text in done.stderr


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name in ("ours", "theirs"):
        make_keys(str(tmp_path / name))
    return tmp_path


def test_a_folder_is_packed_into_one_file_that_can_be_signed(tmp_path: Path, keys: Path) -> None:
    folder, packed = write_tiny_bundle(tmp_path / "tiny", signal_modality()), tmp_path / "offers" / "tiny.mmg"
    sign_bundle(folder, read_private_key(keys / "theirs.key"))
    done = mmg_bundle("pack", folder, packed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"mmg-bundle: wrote {packed}, not signed\n")
    sign_bundle(packed, read_private_key(keys / "ours.key"))
    with Bundle.open(folder) as one, Bundle.open(packed, trust=keys / "ours.pub") as other:
        assert one.digest == other.digest
    signed = packed.read_bytes()
    assert_refused(mmg_bundle("pack", folder, packed), 2, "is there already: add --overwrite to replace it")
    assert packed.read_bytes() == signed
    assert mmg_bundle("pack", folder, packed, "--overwrite").returncode == 0
    assert packed.read_bytes() != signed
    assert_refused(mmg_bundle("pack", folder, tmp_path / "tiny.zip"), 2, "a name that ends in .mmg")


# --- inspect -------------------------------------------------------------------------------------------------------


def write_told_bundle(path: Path) -> Path:
    """A bundle whose manifest says all that it can."""
    modality = signal_modality(window_hops=4)
    encoder = replace(modality.encoder, parameters=12345, macs=600_000)
    manifest, files = golden_manifest(replace(modality, encoder=encoder))
    subset = Subset(
        modalities=("imu",), temperature=1.25, accuracy=0.875, ece=0.031, samples=480, variants={"onnx-int8": 0.85}
    )
    fusion = replace(manifest.fusion, parameters=678, macs=50_000)
    write_bundle(path, replace(manifest, subsets=(subset,), fusion=fusion), files)
    return path


def test_inspect_shows_the_whole_of_a_bundle_on_one_narrow_screen(tmp_path: Path, keys: Path) -> None:
    path = write_told_bundle(tmp_path / "bundle.mmg")
    sign_bundle(path, read_private_key(keys / "ours.key"))
    done = mmg_bundle("inspect", path)
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        "tiny 0.0.1",
        f"signed     by key {read_public_key(keys / 'ours.pub').fingerprint}, not checked here",
        "labels     3: still, walking, running",
        "decides    every 0.5 s over 2 s, 4 hops",
        "imu        signal, 50 Hz: ax, ay, az in m/s^2; gx, gy, gz in rad/s",
        "window encoder over 2 s, 1 token a hop, 12,345 parameters, 1.2 M",
        "onnx   fp32 ",
        "fusion     tokens of 4, embedding of 4, 678 parameters, 0.1 M",
        "measured  accuracy    ECE  temperature  decisions\nimu          0.875  0.031        1.250        480\n",
        "accuracy of  onnx-int8\nimu              0.850\n",
        "golden     golden.npz, ",
        "made       2026-01-01, fakes with onnx ",
    ):
        assert text in done.stdout
    assert "\x1b" not in done.stdout


def test_inspect_shows_the_starter_in_eighty_columns() -> None:
    done = mmg_bundle("inspect", "starter")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert max(map(len, lines)) <= 80
    assert "imu + audio + video" in done.stdout
    assert "signed     no" in lines


def test_inspect_as_json_holds_the_manifest_and_what_follows_from_it(tmp_path: Path) -> None:
    path = write_told_bundle(tmp_path / "bundle")
    told = json.loads(mmg_bundle("inspect", path, "--json").stdout)
    assert told["manifest"] == json.loads((path / "manifest.json").read_text())
    assert told["macs_per_s"] == {"imu": 1_200_000.0, "fusion": 100_000.0}
    assert told["bytes"] == sum(len(data) for data in golden_manifest(signal_modality(window_hops=4))[1].values())
    assert (told["path"], told["signed_by"]) == (str(path), None)


def test_texts_of_a_stranger_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    manifest = tiny_manifest()
    provenance = replace(manifest.provenance, data="\x1b[2Jwiped", licence="\u20ac")
    write_bundle(tmp_path / "bundle", replace(manifest, provenance=provenance), tiny_files(manifest))
    done = in_shell(f"PYTHONIOENCODING=ascii {sys.executable} -m mmg.cli.bundle inspect {tmp_path}/bundle")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "?[2Jwiped" in done.stdout
    assert "\\u20ac" in done.stdout


# --- verify --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bundle", "bundle.mmg"])
def test_verify_prints_a_line_a_file(tmp_path: Path, name: str) -> None:
    done = mmg_bundle("verify", write_golden_bundle(tmp_path / name))
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["file", "backend", "error", "limit", "a", "run"]
    assert rows[0].split() == ["golden.npz", "-", "-", "-", "-", "-", "ok"]
    for path, row in zip(("imu.onnx", "audio.onnx", "video.onnx", "fusion.onnx"), rows[1:], strict=True):
        cells = row.split()
        assert (cells[:3], cells[4], cells[6:]) == ([path, "onnx", "fp32"], "1.0e-04", ["ms", "ok"])
        assert float(cells[3]) < 1e-6
        assert float(cells[5]) > 0
    assert [line for line in done.stderr.splitlines() if " tried " not in line] == ["mmg-bundle: 5 ok"]


def test_verify_names_the_file_that_fails_and_is_exit_code_1(tmp_path: Path) -> None:
    path = write_golden_bundle(tmp_path / "bundle")
    flip(path / "audio.onnx")
    done = mmg_bundle("verify", path)
    assert done.returncode == 1
    [row] = [line for line in done.stdout.splitlines() if "FAILED" in line]
    assert row.startswith("audio.onnx ")
    assert row.endswith("FAILED: its SHA-256 is not the manifest's: the bundle is altered")
    assert done.stderr == "mmg-bundle: 4 ok, 1 failed\n"


def test_the_starter_is_right_on_this_machine() -> None:
    done = mmg_bundle("verify", "starter")
    assert done.returncode == 0, done.stdout
    assert "imu.onnx " in done.stdout


def test_verify_without_golden_arrays_is_exit_code_0_and_says_so(tmp_path: Path) -> None:
    done = mmg_bundle("verify", write_tiny_bundle(tmp_path / "bundle"))
    assert done.returncode == 0
    assert done.stdout.count("hashed") == 4
    assert "4 hashed; it has no golden outputs, so only hashes were compared" in done.stderr


def test_verify_as_json_is_one_object_even_of_what_is_not_finite(tmp_path: Path) -> None:
    modality = signal_modality()
    broken = mean_encoder(25, 6, scale=float("nan"))
    encoder = replace(modality.encoder, files=(describe_file("onnx", "fp32", "imu.onnx", broken),))
    manifest, files = golden_manifest(replace(modality, encoder=encoder))
    write_bundle(tmp_path / "bundle", manifest, files | {"imu.onnx": broken})
    done = mmg_bundle("verify", tmp_path / "bundle", "--json")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    told = json.loads(done.stdout, parse_constant=refuse)
    assert done.returncode == 1
    assert (told["name"], told["golden"], told["signed_by"]) == ("tiny", True, None)
    golden, imu, fusion = told["files"]
    assert (golden["path"], golden["result"]) == ("golden.npz", "ok")
    assert (imu["result"], imu["error"], imu["reason"]) == ("failed", None, "an output is not finite")
    assert (fusion["result"], fusion["backend"], fusion["precision"], fusion["limit"]) == ("ok", "onnx", "fp32", 1e-4)
    assert fusion["run_ms"] > 0


def test_a_long_verification_tells_what_it_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmg.cli import bundle, progress

    monkeypatch.setattr("mmg.cli.exit_codes.handle_signals", lambda _: None)
    path = write_tiny_bundle(tmp_path / "bundle")
    assert bundle.main(["verify", str(path)]) == 0
    assert "checked" not in capsys.readouterr().err
    monkeypatch.setattr(progress, "AFTER_S", 0.0)
    assert bundle.main(["verify", str(path)]) == 0
    assert "mmg-bundle: checked: 0 s so far\n" in capsys.readouterr().err


# --- keygen, sign, trust -------------------------------------------------------------------------------------------


def test_from_a_new_key_to_a_trusted_run(tmp_path: Path) -> None:
    bundle = write_golden_bundle(tmp_path / "bundle.mmg")
    made = mmg_bundle("keygen", tmp_path / "acme")
    assert (made.returncode, made.stdout) == (0, "")
    fingerprint = read_public_key(tmp_path / "acme.pub").fingerprint
    assert made.stderr.endswith(f"acme.key (keep it secret) and {tmp_path}/acme.pub: key {fingerprint}\n")
    signed = mmg_bundle("sign", bundle, "--key", tmp_path / "acme.key")
    assert (signed.returncode, signed.stderr) == (0, f"mmg-bundle: signed {bundle} with key {fingerprint}\n")
    done = mmg_bundle("verify", bundle, "--trust", tmp_path / "acme.pub", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["signed_by"] == fingerprint
    assert done.stderr == f"mmg-bundle: 5 ok; signed by key {fingerprint}\n"


def test_a_run_decides_with_a_bundle_that_its_key_signed(tmp_path: Path, keys: Path) -> None:
    shutil.copytree(ROOT / "runtime/mmg/starter", tmp_path / "bundle", ignore=shutil.ignore_patterns("manifest.sig"))
    sign_bundle(tmp_path / "bundle", read_private_key(keys / "ours.key"))
    arguments = ("--sensors", "imu", "--demo", "--duration", 5, "--bundle", tmp_path / "bundle", "--trust")
    done = mmg_run(*arguments, keys / "ours.pub")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") >= 5
    assert_refused(mmg_run(*arguments, keys / "theirs.pub"), 4, "is signed by key", "mmg-run")


REFUSED = {
    "unsigned": ("is not signed", 4),
    "another key": ("is signed by key", 4),
    "the manifest": ("was altered since", 4),
    "the card": ("was altered since", 4),
    "the private key": ("is the private key", 2),
    "no key": ("is not an mmg key", 2),
    "a missing key": ("cannot be read: No such file", 2),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_trusted_is_refused_by_both_commands(tmp_path: Path, keys: Path, what: str) -> None:
    path, trust = write_tiny_bundle(tmp_path / "bundle"), keys / "ours.pub"
    (path / "MODEL_CARD.md").write_text("# tiny\n")
    if what != "unsigned":
        sign_bundle(path, read_private_key(keys / "ours.key"))
    if what == "another key":
        trust = keys / "theirs.pub"
    elif what == "the manifest":
        (path / "manifest.json").write_text((path / "manifest.json").read_text().replace("0.0.1", "0.0.2"))
    elif what == "the card":
        (path / "MODEL_CARD.md").write_text("# Tiny\n")
    elif what == "the private key":
        trust = keys / "ours.key"
    elif what == "no key":
        trust.write_text("ours")
    elif what == "a missing key":
        trust.unlink()
    text, code = REFUSED[what]
    assert_refused(mmg_bundle("verify", path, "--trust", trust), code, text)
    run = mmg_run("--sensors", "imu", "--demo", "--bundle", path, "--trust", trust)
    assert_refused(run, code, text, "mmg-run")


def test_an_altered_model_file_stops_a_trusted_run_with_exit_code_4(tmp_path: Path, keys: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle")
    sign_bundle(path, read_private_key(keys / "ours.key"))
    flip(path / "imu.onnx")
    run = mmg_run("--sensors", "imu", "--demo", "--bundle", path, "--trust", keys / "ours.pub")
    assert_refused(run, 4, "imu.onnx: its SHA-256 is not the manifest's", "mmg-run")


def test_keygen_never_writes_over_a_key_and_names_a_folder_that_is_missing(keys: Path) -> None:
    before = (keys / "ours.key").read_bytes()
    assert_refused(mmg_bundle("keygen", keys / "ours"), 2, "ours.key: already exists")
    assert (keys / "ours.key").read_bytes() == before
    assert_refused(mmg_bundle("keygen", keys / "nowhere" / "new"), 2, f"cannot write {keys}/nowhere/new.key: No such")


def test_sign_wants_the_private_key_and_a_whole_bundle(tmp_path: Path, keys: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle.mmg")
    assert_refused(mmg_bundle("sign", path, "--key", keys / "ours.pub"), 2, "is the public key")
    path.write_bytes(path.read_bytes()[:-40])
    assert_refused(mmg_bundle("sign", path, "--key", keys / "ours.key"), 4, "is not a whole .mmg file")


def test_a_disk_that_fills_up_while_signing_leaves_the_bundle_as_it_was(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "made").mkdir()
    path = write_golden_bundle(tmp_path / "made" / "bundle.mmg")
    before = path.read_bytes()
    assert len(before) > 8 << 10
    # No file of this process may pass 8 KiB: a write ends as on a full disk, with another number.
    done = in_shell(f"ulimit -f 8; {sys.executable} -B -m mmg.cli.bundle sign {path} --key {keys}/ours.key")
    assert_refused(done, 2, f"cannot write {path}: File too large")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# --- diff ----------------------------------------------------------------------------------------------------------


def write_next_bundle(path: Path) -> Path:
    """The tiny bundle after a retraining: other labels, rate, encoder, accuracy and sensors."""
    modality = signal_modality(rate_hz=100.0)
    data, int8 = mean_encoder(50, 6, scale=2.0), mean_encoder(50, 6, scale=2.1)
    files = (describe_file("onnx", "fp32", "imu.onnx", data), describe_file("onnx", "int8", "imu.int8.onnx", int8))
    modality = replace(modality, encoder=replace(modality.encoder, files=files))
    manifest = tiny_manifest(modality)
    subset = replace(manifest.subsets[0], accuracy=0.925)
    manifest = replace(manifest, version="0.0.2", labels=("still", "walking", "cycling"), subsets=(subset,))
    write_bundle(path, manifest, tiny_files(manifest) | {"imu.onnx": data, "imu.int8.onnx": int8})
    return path


def test_diff_of_the_same_in_both_forms_is_nothing_and_exit_code_0(tmp_path: Path) -> None:
    done = mmg_bundle("diff", write_tiny_bundle(tmp_path / "bundle"), write_tiny_bundle(tmp_path / "bundle.mmg"))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "mmg-bundle: no differences: both promise the same, and their files have the same hashes\n"


def test_diff_says_what_differs_and_by_how_much(tmp_path: Path, keys: Path) -> None:
    before, after = write_tiny_bundle(tmp_path / "before"), write_next_bundle(tmp_path / "after.mmg")
    sign_bundle(after, read_private_key(keys / "ours.key"))
    done = mmg_bundle("diff", before, after)
    assert (done.returncode, done.stderr) == (1, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    sizes = len(tiny_files(tiny_manifest())["imu.onnx"]), len(mean_encoder(50, 6, scale=2.0))
    assert lines["version"] == "0.0.1 -> 0.0.2"
    assert lines["labels"] == "-running, +cycling"
    assert lines["modalities.imu.rate_hz"] == "50.0 -> 100.0 (+50)"
    assert lines["modalities.imu.encoder.input.shape"] == "1, 25, 6 -> 1, 50, 6"
    assert lines["modalities.imu.encoder.states"] == "there -> nothing"
    assert lines["modalities.imu.encoder.files.onnx-fp32.bytes"].startswith(f"{sizes[0]} -> {sizes[1]} (")
    assert len(lines["modalities.imu.encoder.files.onnx-fp32.sha256"]) == len(" -> ") + 2 * 12
    assert lines["modalities.imu.encoder.files.onnx-int8"] == "nothing -> imu.int8.onnx"
    assert lines["modalities.audio"] == "there -> nothing"
    assert lines["subsets.imu.accuracy"] == "0.9 -> 0.925 (+0.025)"
    assert lines["signed_by"] == f"nothing -> {read_public_key(keys / 'ours.pub').fingerprint}"
    assert not [what for what in lines if what.startswith("fusion") or "order" in what]


def test_diff_as_json_holds_both_values(tmp_path: Path) -> None:
    before, after = write_tiny_bundle(tmp_path / "before"), write_next_bundle(tmp_path / "after")
    told = json.loads(mmg_bundle("diff", before, after, "--json").stdout)
    assert (told["a"]["path"], told["b"]["version"]) == (str(before), "0.0.2")
    changes: dict[str, Any] = {change.pop("what"): change for change in told["changes"]}
    assert changes["labels"] == {
        "a": ["still", "walking", "running"],
        "b": ["still", "walking", "cycling"],
        "difference": None,
    }
    assert changes["subsets.imu.accuracy"]["difference"] == pytest.approx(0.025)
    assert changes["modalities.video"]["a"]["name"] == "video"
    assert changes["modalities.video"]["b"] is None


@pytest.mark.parametrize("what", ["labels", "modalities", "card", "golden"])
def test_diff_finds_an_order_a_card_and_golden_arrays(tmp_path: Path, what: str) -> None:
    manifest = tiny_manifest()
    files = tiny_files(manifest)
    write_bundle(tmp_path / "a", manifest, files)
    if what == "labels":
        manifest = replace(manifest, labels=manifest.labels[::-1])
    elif what == "modalities":
        manifest = replace(manifest, modalities=manifest.modalities[::-1])
    elif what == "card":
        files["MODEL_CARD.md"] = b"# tiny\n"
    else:
        files["golden.npz"] = b"arrays"
        manifest = replace(manifest, golden=describe_stored("golden.npz", b"arrays"))
    write_bundle(tmp_path / "b", manifest, files)
    done = mmg_bundle("diff", tmp_path / "a", tmp_path / "b")
    assert done.returncode == 1
    expected = {
        "labels": "labels  still, walking, running -> running, walking, still\n",
        "modalities": "modalities.(order)  imu, audio, video -> video, audio, imu\n",
        "card": "card  nothing -> there\n",
        "golden": "golden  nothing -> golden.npz\n",
    }
    assert done.stdout == expected[what]


# --- usage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [[], ["look"], ["inspect"], ["diff", "starter"], ["sign", "starter"], ["verify", "starter", "--tru", "k.pub"]],
    ids=" ".join,
)
def test_a_wrong_command_is_exit_code_2(arguments: list[str]) -> None:
    done = mmg_bundle(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "mmg-bundle" in done.stderr
    assert ": error: " in done.stderr


@pytest.mark.parametrize("command", ["inspect", "verify"])
@pytest.mark.parametrize("data", [None, b"no bundle"], ids=["nothing", "no bundle"])
def test_what_is_no_bundle_is_exit_code_4(tmp_path: Path, command: str, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "bundle.mmg").write_bytes(data)
    assert_refused(mmg_bundle(command, tmp_path / "bundle.mmg"), 4, f"bundle {tmp_path}/bundle.mmg: ")


def test_a_full_disk_and_a_reader_that_leaves_are_no_tracebacks() -> None:
    full = in_shell(f"{sys.executable} -m mmg.cli.bundle inspect starter > /dev/full")
    assert (full.returncode, full.stderr) == (2, "mmg-bundle: cannot write: No space left on device\n")
    left = in_shell(f"set -o pipefail; {sys.executable} -m mmg.cli.bundle inspect starter --json | head -c 0")
    assert "Traceback" not in left.stderr
    deaf = in_shell(f"{sys.executable} -m mmg.cli.bundle inspect starter >&-")
    assert_refused(deaf, 2, "standard output is closed")


def test_help_teaches_and_loads_no_numpy() -> None:
    code = "import sys; from mmg.cli.bundle import main\ntry: main(['--help'])\nfinally: print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.endswith("130 stopped by Ctrl-C\nFalse\n")
    for word in ("keygen acme", "--trust acme.pub", "inspect starter", "exit codes: 0 done, 1 "):
        assert word in done.stdout


def test_inspect_diff_and_sign_load_neither_numpy_nor_a_model_library(tmp_path: Path, keys: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle")
    code = (
        "import sys; from mmg.cli.bundle import main\n"
        f"main(['inspect', {str(path)!r}]); main(['diff', 'starter', {str(path)!r}])\n"
        f"main(['sign', {str(path)!r}, '--key', {str(keys / 'ours.key')!r}])\n"
        "print({'numpy', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.endswith("set()\n"), done.stderr
