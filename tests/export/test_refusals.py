"""What cannot be exported is refused before anything is converted, in one line that names the part."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from mmg.bundle.manifest import Channel
from mmg.errors import ConfigError, MmgError, ModelError
from mmg.trial.process import Ended
from mmg_export import Sensor, export_bundle, report, request
from mmg_export.convert import convert_all
from mmg_export.fork_server import ForkServer
from mmg_export.parts import Part, encoder_part, fusion_part
from mmg_export.proof import streaming_error
from mmg_export.report import Report
from mmg_export.streams import follow, random_runs
from mmg_export.trace import Tracer
from own_modules import PPG, Carrying, MeanFusion, Ppg, seeded, spec
from torch import Tensor, nn


class _Around(nn.Module):
    """The PPG encoder with something done to its token."""

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.ppg, self.change = Ppg(), change

    def forward(self, samples: Tensor) -> Tensor:
        return self.change(samples, self.ppg(samples))


class _Mean(nn.Module):
    def forward(self, samples: Tensor) -> Tensor:
        return samples.mean().expand(1, 1, 6)


class _Growing(nn.Module):
    def forward(self, samples: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        return samples[:, :1].expand(1, 1, 6) + past.mean(), torch.cat((past, samples[:, :1]), dim=1)


def refuse(module: nn.Module, tmp_path: Path, *, sensor: Sensor = PPG, **changes: Any) -> str:
    """The one line with which the export of this encoder is refused."""
    given: dict[str, Any] = {"encoders": {"ppg": module}, "fusion": seeded(MeanFusion), "spec": spec(sensor), "hops": 5}
    with pytest.raises(MmgError) as caught:
        export_bundle(tmp_path / "out", **{**given, **changes})
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_module_in_training_mode(tmp_path: Path) -> None:
    module = nn.Sequential(seeded(Ppg), nn.Dropout(0.5))
    assert refuse(module, tmp_path) == "ppg: Sequential is in training mode: call .eval() first"
    module.eval()
    module[1].train()
    assert refuse(module, tmp_path) == "ppg: 1 (Dropout) is in training mode: call .eval() first"


def test_bfloat16_is_refused_for_onnx_and_where_it_is_computed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmg_export.convert._run_all", lambda *_: {"ppg": b"a file"})
    cast = seeded(_Around, lambda _, token: token.bfloat16().float())
    computed = seeded(_Around, lambda _, token: (token.bfloat16() * 2).float())

    def convert(module: nn.Module, backend: str) -> dict[str, bytes]:
        forms = {"ppg": {"encode": encoder_part("ppg", module, spec())}}
        return convert_all(backend, forms, lambda _: None, Tracer(), ForkServer())

    assert convert(cast, "onnx") == convert(computed, "litert") == {"ppg": b"a file"}
    with pytest.raises(ModelError, match=r"ppg: onnx cannot take the operator aten\.mul\.Tensor, in the module itself"):
        convert(computed, "onnx")


def test_a_fusion_in_training_mode(tmp_path: Path) -> None:
    assert "fusion: MeanFusion is in training mode" in refuse(seeded(Ppg), tmp_path, fusion=MeanFusion())


def test_an_output_that_depends_on_the_batch(tmp_path: Path) -> None:
    module = seeded(_Around, lambda _, token: token - token.mean(0, keepdim=True) * 0.5)
    assert "ppg: its tokens depend on what else is in the batch" in refuse(module, tmp_path)


def test_a_file_that_a_device_would_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> NoReturn:
        raise Ended("did not end within 3 s")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr("mmg.trial.trial.TrialProcess.run", end)
    assert refuse(seeded(Ppg), tmp_path) == f"bundle {tmp_path}/out: ppg.onnx: did not end within 3 s"


def test_shapes_that_depend_on_the_data(tmp_path: Path) -> None:
    module = seeded(_Around, lambda samples, token: token + samples[:1][samples[:1] > 0].sum())
    assert "depends on the data, in " in refuse(module, tmp_path)


def test_a_branch_that_depends_on_the_data_is_told_with_its_line(tmp_path: Path) -> None:
    module = seeded(_Around, lambda samples, token: token if samples[0].sum() > 0 else token * 2)
    said = refuse(module, tmp_path)
    assert said.startswith("ppg: shapes or branches depend on the data, at ")
    assert "test_refusals.py:" in said


def test_random_numbers(tmp_path: Path) -> None:
    assert "it draws random numbers" in refuse(seeded(_Around, lambda _, t: t + torch.rand(6)), tmp_path)


def test_tokens_that_are_not_finite(tmp_path: Path) -> None:
    assert "ppg: tokens is not finite" in refuse(seeded(_Around, lambda _, t: t / 0.0), tmp_path)


def test_tokens_that_are_not_finite_later_on(tmp_path: Path) -> None:
    pulse = np.ones((640, 1), np.float32)
    pulse[64:] = 0
    said = refuse(seeded(_Around, lambda samples, t: t + samples.abs().max().log()), tmp_path, recorded={"ppg": pulse})
    assert said == "ppg: tokens is not finite, 2 hops after the beginning"

    class Logarithm(nn.Module):
        def forward(self, samples: Tensor) -> Tensor:
            return samples.abs().max().log().expand(1, 1, 6)

    class Divided(nn.Module):
        def forward(self, tokens: Tensor, modality: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
            mean = (tokens / tokens.abs().amax((1, 2), keepdim=True)).mean(1)
            return mean[:, :3] + (modality + age).float().mean(1, keepdim=True), mean[:, :4]

    window = replace(PPG, window_s=1.0)
    said = refuse(Logarithm().eval(), tmp_path, sensor=window, recorded={"ppg": pulse})
    assert said == "ppg: tokens is not finite, 3 hops after the beginning"
    assert refuse(_Mean().eval(), tmp_path, sensor=window, fusion=Divided().eval(), recorded={"ppg": pulse * 0}) == (
        "fusion: logits is not finite, 1 hop after the beginning"
    )


def test_a_state_whose_shape_changes(tmp_path: Path) -> None:
    said = refuse(_Growing().eval(), tmp_path, sensor=replace(PPG, states=((1, 4, 1),)))
    assert said == "ppg: state 0 goes in as [1, 4, 1] and comes out as [1, 5, 1]; its shape may not change"


def test_tokens_of_the_wrong_width(tmp_path: Path) -> None:
    assert refuse(seeded(Ppg, 8), tmp_path) == "ppg: gives tokens of width 8, the fusion takes 6"


def test_another_number_of_tokens(tmp_path: Path) -> None:
    said = refuse(seeded(Ppg), tmp_path, sensor=replace(PPG, tokens_per_hop=2))
    assert said == "ppg: gives [1, 1, 6], not tokens [1, 2, 6] (batch, tokens a hop, width)"


def test_a_module_that_takes_other_samples(tmp_path: Path) -> None:
    said = refuse(seeded(Ppg), tmp_path, sensor=replace(PPG, rate_hz=100.0))
    assert said.startswith("ppg: its module cannot run: mat1 and mat2 shapes")


def test_states_that_are_not_given_back(tmp_path: Path) -> None:
    sensor = replace(PPG, states=((1, 4),))
    assert "ppg: its module cannot run" in refuse(seeded(Ppg), tmp_path, sensor=sensor)

    class Silent(nn.Module):
        def forward(self, samples: Tensor, state: Tensor) -> Tensor:
            return samples[:, :1].expand(1, 1, 6) + state.mean()

    said = refuse(Silent().eval(), tmp_path, sensor=sensor)
    assert said.startswith("ppg: gives 0 outputs beside its tokens, but Sensor(states=...) has 1 state")


def test_a_module_that_keeps_its_state_in_itself(tmp_path: Path) -> None:
    class Keeping(nn.Module):
        past: Tensor | float = 0.0

        def forward(self, samples: Tensor) -> Tensor:
            self.past = samples[:, :1].expand(1, 1, 6) + self.past
            return self.past

    assert refuse(seeded(Keeping), tmp_path).endswith("draws random numbers, or keeps a state in itself")


def test_outputs_that_are_no_tensors_or_of_another_type(tmp_path: Path) -> None:
    said = refuse(seeded(_Around, lambda _, token: {"last": token}), tmp_path)
    assert said == "ppg: gives tokens as a dict, not a tensor: wrap the module"
    said = refuse(seeded(_Around, lambda _, token: token.double()), tmp_path)
    assert said == "ppg: gives tokens of torch.float64, not torch.float32"


def test_a_batch_dependent_encoder_whose_state_has_the_batch_second(tmp_path: Path) -> None:
    class Recurrent(nn.Module):
        def forward(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            mean = samples.mean(dim=(0, 1, 2)) + state
            return (mean.transpose(0, 1) + samples[:, :1]), mean

    said = refuse(Recurrent().eval(), tmp_path, sensor=replace(PPG, states=((1, 1, 6),)))
    assert "ppg: its tokens depend on what else is in the batch" in said


def test_states_that_do_not_carry_what_the_next_hop_needs(tmp_path: Path) -> None:
    class Forgetting(nn.Module):
        def forward(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            tokens = samples.cumsum(1)[:, 31::32].expand(-1, -1, 6)
            return tokens, state * 0.5

    sensor = replace(PPG, states=((1, 1),))
    assert "its states do not carry what the next hop needs" in refuse(Forgetting().eval(), tmp_path, sensor=sensor)
    for count in (640, 32):  # of silence, and of one hop
        silence = {"ppg": np.zeros((count, 1), np.float32)}
        said = refuse(Forgetting().eval(), tmp_path, sensor=sensor, recorded=silence)
        assert "its states do not carry what the next hop needs" in said


def test_streaming_of_one_hop_is_not_told_as_compared() -> None:
    part = encoder_part("ppg", seeded(Carrying), spec(replace(PPG, states=((1, 1, 6),))))
    own, said = spec(replace(PPG, states=((1, 1, 6),))), list[str]()
    stream = follow(
        {"ppg": part}, fusion_part(seeded(MeanFusion), own), own, {"ppg": random_runs("ppg", own, 1, 0)}, print
    )
    assert streaming_error(part, own, [stream], said.append) is None
    assert said == ["ppg: there is but one hop, so streaming is not compared with offline"]


def test_a_fusion_that_litert_cannot_fill_up(tmp_path: Path) -> None:
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fusion = MeanFusion()

        def forward(self, tokens: Tensor, modality: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
            made: tuple[Tensor, Tensor] = self.fusion(tokens, modality, age)
            return made

    class Blind(Three):
        def forward(
            self, tokens: Tensor, modality: Tensor, age: Tensor, present: Tensor | None = None
        ) -> tuple[Tensor, Tensor]:
            del present
            return super().forward(tokens, modality, age)

    said = refuse(seeded(Ppg), tmp_path, fusion=seeded(Three), backends=("onnx", "litert"))
    assert "for litert it is called with a fourth, present (1, N) bool" in said
    said = refuse(seeded(Ppg), tmp_path, fusion=seeded(Blind), backends=("onnx", "litert"))
    assert said == "fusion: its logits depend on tokens that are not present: litert fills up with them"


def test_a_fusion_of_other_labels(tmp_path: Path) -> None:
    said = refuse(seeded(Ppg), tmp_path, spec=spec(labels=("rest", "effort")))
    assert said == "fusion: gives logits of [1, 3] for 1 tokens, not [1, 2]"


@pytest.mark.parametrize(
    ("give", "problem"),
    [
        (lambda logits, _: logits, "gives a Tensor"),
        (lambda *made: (*made, made[0]), "gives 3 values"),
        (lambda logits, embedding: {"logits": logits, "embedding": embedding}, "gives a dict"),
    ],
)
def test_a_fusion_that_gives_something_else(give: Callable[..., Any], problem: str, tmp_path: Path) -> None:
    class Other(nn.Module):
        def forward(self, tokens: Tensor, modality: Tensor, age: Tensor) -> Any:
            del modality, age
            return give(tokens.mean(1)[:, :3], tokens.mean(1)[:, :4])

    said = refuse(seeded(Ppg), tmp_path, fusion=Other().eval())
    assert said == f"fusion: {problem}, not (logits, embedding): wrap the module"


def test_requests_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ppg = seeded(Ppg)
    assert "there are none of ppg" in refuse(ppg, tmp_path, precisions=("fp32", "int8"))
    assert "one backend must be exported in fp32" in refuse(ppg, tmp_path, precisions=("int8",))
    assert "'tensorrt' is not one of onnx, litert" in refuse(ppg, tmp_path, backends=("tensorrt",))
    said = refuse(ppg, tmp_path, precisions=("fp32", "fp16"))
    assert said == "'fp16' is not one of fp32, int8; --half stores fp32 as float16"
    assert refuse(ppg, tmp_path, half="yes") == "half is True or False, not 'yes'"
    assert "the encoders are imu" in refuse(ppg, tmp_path, encoders={"imu": ppg})
    assert "(T, 1)" in refuse(ppg, tmp_path, recorded={"ppg": np.zeros((640, 2), np.float32)})
    for value in (np.nan, 1e300):
        assert "not finite" in refuse(ppg, tmp_path, recorded={"ppg": np.full((640, 1), value)})
    assert "an array of float32" in refuse(ppg, tmp_path, recorded={"ppg": np.zeros((640, 1), np.int16)})
    assert "an array of float32" in refuse(ppg, tmp_path, recorded={"ppg": [[0.0]] * 640})
    short = {"ppg": np.zeros((20, 1), np.float32)}
    assert "20 recorded samples are not one hop" in refuse(ppg, tmp_path, recorded=short, precisions=("fp32", "int8"))
    assert "hops must be at least 1" in refuse(ppg, tmp_path, hops=0)
    assert "limit from 0 to 1" in refuse(ppg, tmp_path, limit=float("nan"))
    assert "labels: a label appears twice" in refuse(ppg, tmp_path, spec=spec(labels=("rest", "rest", "x")))
    monkeypatch.setattr(request, "find_spec", lambda _: None)
    assert "pip install -e '.[export-litert]'" in refuse(ppg, tmp_path, backends=("litert",))


def test_a_full_folder_for_temporary_files_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = type(shutil.disk_usage(tmp_path))(10**9, 10**9 - 5_000_000, 5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    said = refuse(seeded(Ppg), tmp_path)
    assert said.startswith(f"{tempfile.gettempdir()}: 5 MB are free, a conversion needs 100 MB")
    assert said.endswith("set TMPDIR to another folder")


def _is_refused(part: Part) -> str:
    with ForkServer() as server, pytest.raises(MmgError) as caught:
        convert_all("onnx", {"ppg": {"encode": part}}, lambda _: None, Tracer(), server)
    return str(caught.value)


def test_one_that_is_too_full_for_the_weights_is_refused_before_torch_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = nn.Sequential(
        nn.Flatten(), nn.Linear(32, 1_000_000), nn.Linear(1_000_000, 6), nn.Unflatten(1, (1, 6))
    ).eval()
    small = type(shutil.disk_usage("/"))(10**9, 0, 300_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: small)
    said = _is_refused(encoder_part("ppg", wide, spec()))  # of 156 MB, twice
    assert said.startswith(f"{tempfile.gettempdir()}: 300 MB are free, a conversion needs 412 MB")


def test_a_module_that_torch_cannot_save_is_refused() -> None:
    module = seeded(Ppg)
    module.register_buffer("sparse", torch.eye(3).to_sparse())
    said = _is_refused(encoder_part("ppg", module, spec()))
    assert said == "ppg: torch.export cannot save it: Cannot access storage of SparseTensorImpl"


def test_weights_of_more_than_a_file_holds_are_refused_before_they_are_converted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mmg_export.convert.LARGEST_FILE_BYTES", 100)
    said = _is_refused(encoder_part("ppg", seeded(Ppg), spec()))
    assert said == "ppg: its weights are 0.0 GB, and a file of a bundle holds 2 GiB at most"


def test_a_report_that_cannot_be_written_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "out.report.md").mkdir()
    assert refuse(seeded(Ppg), tmp_path).endswith("out.report.md: is a folder, where the report is to be written")
    empty: dict[str, Any] = {"tools": {}, "parameters": {}, "macs": {}, "streaming": {}, "files": (), "variants": ()}
    made = Report(bundle="b", version="1", machine="m", half=False, **empty)
    with pytest.raises(
        MmgError, match=r"other\.report\.json: cannot be written: No such file or directory; the bundle"
    ):
        report.write(made, tmp_path / "nowhere" / "other.mmg")


def test_a_folder_of_other_things_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(
        MmgError, match=r"is a folder with other things in it, not a bundle: there is no manifest\.json"
    ):
        export_bundle(tmp_path, encoders={"ppg": Ppg()}, fusion=MeanFusion(), spec=spec())


def test_what_is_at_the_place_already_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "pulse.csv"
    data.write_text("t_s,ppg")
    (tmp_path / "folder.mmg").mkdir()
    for out, problem in ((data, "is a file; a bundle is a folder"), (tmp_path / "folder.mmg", "is not a file")):
        with pytest.raises(MmgError, match=problem):
            export_bundle(out, encoders={"ppg": Ppg()}, fusion=MeanFusion(), spec=spec())
    assert data.read_text() == "t_s,ppg"


def test_arguments_of_the_wrong_kind(tmp_path: Path) -> None:
    ppg = seeded(Ppg)
    assert "must be a torch.nn.Module, made with its arguments" in refuse(ppg, tmp_path, encoders={"ppg": Ppg})
    assert "tuples, as in backends=('onnx',)" in refuse(ppg, tmp_path, backends="onnx")
    assert "evaluate must be a function" in refuse(ppg, tmp_path, evaluate=3)
    problems: tuple[tuple[str, Any, str], ...] = (
        ("kind", "smell", "kind must be Literal['signal', 'audio', 'video'], not 'smell'"),
        ("channels", PPG.channels[0], "Expected `array`, got `object`"),
        ("channels", ("ppg",), "channels must be tuple[Channel, ...], not ('ppg',)"),
        ("channels", (Channel(name=1, unit="1"),), "Expected `str`, got `int`"),  # type: ignore[arg-type]
        ("states", (1, 1, 6), "states must be tuple[tuple[int, ...], ...], not (1, 1, 6)"),
        ("rate_hz", "64", "Sensor: rate_hz must be float, not '64'"),
        ("tokens_per_hop", 1.0, "tokens_per_hop must be int"),
    )
    for field, value, problem in problems:
        with pytest.raises(ConfigError, match=re.escape(problem)):
            replace(PPG, **{field: value})
    of_spec: tuple[tuple[str, Any, str], ...] = (
        ("labels", "rest", "Spec: labels must be tuple[str, ...], not 'rest'"),
        ("labels", (0, 1, 2), "Expected `str`, got `int`"),
        ("token_dim", "6", "token_dim must be int, not '6'"),
        ("version", 1.0, "version must be str, not 1.0"),
        ("sensors", {"ppg": {"rate_hz": 64}}, "sensors must be a mapping of names to Sensor(...)"),
    )
    for field, value, problem in of_spec:
        with pytest.raises(ConfigError, match=re.escape(problem)):
            spec(**{field: value})
    assert "encoders is a mapping of sensors' names to modules" in refuse(ppg, tmp_path, encoders=ppg)
    assert "recorded is a mapping of sensors' names" in refuse(ppg, tmp_path, recorded=np.zeros((640, 1), np.float32))
    assert "hops is a whole number" in refuse(ppg, tmp_path, hops=5.0)
    assert "limit a number" in refuse(ppg, tmp_path, limit=None)
    assert refuse(ppg, tmp_path, backends=("onnx", "onnx")) == "onnx, onnx: name each once"


def test_lists_and_numbers_of_numpy_are_taken() -> None:
    sensor = replace(PPG, rate_hz=np.float32(64), channels=list(PPG.channels), states=[[1, np.int64(1), 6]])  # type: ignore[arg-type]
    made = spec(sensor, token_dim=np.int64(6), labels=["a", "b", "c"])
    assert sensor == replace(PPG, rate_hz=64.0, states=((1, 1, 6),))
    assert (made.token_dim, made.labels) == (6, ("a", "b", "c"))


def test_a_sensor_of_somebody_s_own_class_is_taken() -> None:
    @dataclass(frozen=True)
    class Own(Sensor):
        module: nn.Module | None = None

    assert spec(Own(PPG.rate_hz, PPG.channels, module=_Mean())).sensors["ppg"].rate_hz == PPG.rate_hz


def test_hops_and_a_limit_of_numpy_are_taken(tmp_path: Path) -> None:
    module = _Mean()  # in training mode: what it is refused for comes after what is asked for
    assert "in training mode" in refuse(module, tmp_path, hops=np.int64(5), limit=np.float32(0.01))


def test_sensors_that_cannot_be() -> None:
    for sensor, problem in (
        (replace(PPG, rate_hz=63.0), "a hop of 0.5 s is not a whole number of samples"),
        (replace(PPG, rate_hz=float("nan")), "a hop of 0.5 s is not a whole number of samples"),
        (replace(PPG, window_s=-1.0), "window_s must be seconds"),
        (replace(PPG, channels=()), "has no channels"),
        (replace(PPG, window_s=2.0, states=((1, 2),)), "carries no states"),
        (replace(PPG, kind="video"), "frame=(height, width) is for video"),
    ):
        with pytest.raises(ConfigError, match=problem.replace("(", r"\(").replace(")", r"\)")):
            spec(sensor)
    with pytest.raises(ConfigError, match="cannot be a sensor's name"):
        spec(sensors={"PPG 1": PPG})


class _Unsupported(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ppg, self.odd = Ppg(), _Odd()

    def forward(self, samples: Tensor) -> Tensor:
        made: Tensor = self.odd(self.ppg(samples))
        return made


class _Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        odd: Tensor = torch.special.bessel_j0(x)
        return x + odd


def test_an_unsupported_operator_is_named_with_its_place() -> None:
    part: Part = encoder_part("ppg", seeded(_Unsupported), spec())
    with (
        ForkServer() as server,
        pytest.raises(ModelError, match=r"ppg: onnx cannot take the operator aten.special_bessel_j0, in odd \(_Odd\)"),
    ):
        convert_all("onnx", {"ppg": {"encode": part}}, lambda _: None, Tracer(), server)


@pytest.mark.parametrize("shape", [(), (6,)])
def test_what_writes_into_what_it_is_given_and_gives_it_back_is_taken(shape: tuple[int, ...], tmp_path: Path) -> None:
    class Writing(nn.Module):
        last: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.ppg = Ppg()
            self.register_buffer("last", torch.zeros(1, 1, 6))

        def forward(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            made = self.ppg(samples.sub_(0.5).div_(2))
            state.mul_(0.5).add_(made.mean())
            self.last.copy_(made + state)
            return self.last, state

    pulse = np.ones((640, 1), np.float32)
    pulse.setflags(write=False)  # as of a file that is mapped
    export_bundle(
        tmp_path / "out",
        encoders={"ppg": seeded(Writing)},
        fusion=seeded(MeanFusion),
        spec=spec(replace(PPG, states=(shape,))),
        recorded={"ppg": pulse},
        hops=20,
    )
    assert (pulse == 1).all()
    assert (tmp_path / "out" / "manifest.json").exists()


def test_a_streaming_encoder_is_taken(tmp_path: Path) -> None:
    """The refusals above are of what is wrong, and not of everything."""
    export_bundle(
        tmp_path / "out",
        encoders={"ppg": seeded(Carrying)},
        fusion=seeded(MeanFusion),
        spec=spec(replace(PPG, states=((1, 1, 6),))),
        hops=20,
    )
    assert (tmp_path / "out" / "manifest.json").exists()


def test_a_program_whose_numbers_are_of_64_bits_changes_nothing(tmp_path: Path) -> None:
    carrying, fusion = seeded(Carrying), seeded(MeanFusion)
    sensor = replace(PPG, states=((1, 1, 6),))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        export_bundle(tmp_path / "out", encoders={"ppg": carrying}, fusion=fusion, spec=spec(sensor), hops=10)
    finally:
        torch.set_default_dtype(before)
    assert (tmp_path / "out" / "manifest.json").exists()
