"""Which library runs the models: onnxruntime and LiteRT are of equal rank, and one of them is enough."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from mmg.backends import BACKENDS, load_library, usual_backends
from mmg.bundle import Bundle
from mmg.engine.variant import Variant, choose_variant
from mmg.errors import BackendUnavailable, BundleError, NoRuntime, pip_install

Install = Callable[..., None]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Lets only these backends be there."""

    def install(*backends: str) -> None:
        for place in ("mmg.backends.is_installed", "mmg.engine.variant.is_installed"):
            monkeypatch.setattr(place, lambda backend: backend in backends)

    return install


def chosen(preferred: str = "auto", backend: str = "auto") -> Variant:
    with Bundle.open("starter") as bundle:
        return choose_variant(bundle, ["imu"], backend, "fp32", preferred)


@pytest.mark.parametrize("there", BACKENDS)
@pytest.mark.parametrize("preferred", ["auto", *BACKENDS])
def test_auto_takes_the_one_that_is_there_whichever_the_profile_names(
    installed: Install, there: str, preferred: str
) -> None:
    installed(there)
    assert chosen(preferred).backend == there
    assert usual_backends(preferred) == (there,)


def test_of_two_auto_takes_the_one_that_the_profile_names(installed: Install) -> None:
    installed(*BACKENDS)
    assert [chosen(preferred).backend for preferred in ("auto", "onnx", "litert")] == ["onnx", "onnx", "litert"]
    assert [usual_backends(preferred) for preferred in ("auto", "litert")] == [("onnx", "litert"), ("litert",)]


def test_the_one_that_was_asked_for_is_taken_whether_or_not_it_is_there(installed: Install) -> None:
    installed("onnx")
    assert chosen(backend="litert").backend == "litert"


def test_without_any_one_line_names_both_choices(installed: Install) -> None:
    installed()
    for act in (chosen, lambda: usual_backends("litert")):
        with pytest.raises(NoRuntime) as caught:
            act()
        assert str(caught.value) == (
            "nothing that runs models is installed; choose one: "
            f"{pip_install('onnxruntime')}, or {pip_install('ai-edge-litert')}"
        )
        assert caught.value.exit_code == 4


def test_a_bundle_without_files_of_a_precision_is_the_bundles_fault_whatever_is_installed(installed: Install) -> None:
    installed()
    with Bundle.open("starter") as bundle, pytest.raises(BundleError, match="not have all of imu and fusion in fp16"):
        choose_variant(bundle, ["imu"], "auto", "fp16")


@pytest.mark.parametrize(
    ("backend", "modules", "package"),
    [
        ("onnx", ["onnxruntime"], "onnxruntime"),
        ("litert", ["ai_edge_litert", "tflite_runtime"], "ai-edge-litert"),
    ],
)
def test_a_library_that_is_not_there_is_told_with_its_package(
    monkeypatch: pytest.MonkeyPatch, backend: str, modules: list[str], package: str
) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, f"{module}.interpreter", None)
    with pytest.raises(BackendUnavailable, match=f"is not installed: .* install {package}$"):
        load_library(backend)


@pytest.mark.parametrize(("backend", "other"), [("onnx", "ai_edge_litert"), ("litert", "onnxruntime")])
def test_a_run_by_one_does_not_load_the_other(backend: str, other: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime", "litert": "ai_edge_litert"}[backend])
    code = f"import sys\nfrom mmg.backends import load_library\nload_library({backend!r})\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other not in done.stdout.split()
