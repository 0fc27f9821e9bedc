"""The keys of a device profile. A type's description is what an error says is allowed."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from mmg_device_profiles.gate import GatePolicy

# Spelled as onnxruntime spells them (get_all_providers): those that a wearable's board may have.
Provider = Literal[
    "CPUExecutionProvider", "XnnpackExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
]
PROVIDERS = (
    "a list of onnxruntime's CPUExecutionProvider, XnnpackExecutionProvider, CUDAExecutionProvider, "
    "TensorrtExecutionProvider, the preferred one first"
)

Text = Annotated[str, Meta(min_length=1, description="a string that is not empty")]
Url = Annotated[str, Meta(min_length=1, description="a URL or a path, as a string")]
Positive = Annotated[float, Meta(gt=0, description="a number above 0")]


class Detect(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which boards the profile fits.

    compatible: strings of the device tree; one of them in the board's list is enough.
    machine: the profile for every board with this processor that no other profile fits.
    """

    compatible: Annotated[tuple[Text, ...], Meta(description="a list of device-tree strings")] = ()
    machine: Annotated[Literal["aarch64", "x86_64"], Meta(description="aarch64 or x86_64")] | None = None


class Budget(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Goals that a run is held against; None is no goal.

    decision_ms: 95th percentile from a hop's end to its decision.
    cpu_percent: of one core, at the sensors' real pace.
    memory_mib: peak resident memory of the process.
    first_decision_s: from the start of the process to its first decision.
    power_mw: mean power, where the board measures it.
    """

    decision_ms: Positive | None = None
    cpu_percent: Positive | None = None
    memory_mib: Positive | None = None
    first_decision_s: Positive | None = None
    power_mw: Positive | None = None


class Energy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the board's energy is measured.

    meter: rapl is Intel's and AMD's counter, ina a chip that the kernel shows, pmic the Raspberry Pi 5's power chip.
    core_w: watts that one busy core adds, for an estimate that is labelled one.
    """

    meter: Annotated[
        Literal["auto", "none", "rapl", "ina", "pmic"], Meta(description="auto, none, rapl, ina or pmic")
    ] = "auto"
    core_w: Positive | None = None


class Privacy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """video: flag needs --allow-video; never is refused even with it.

    record: the kinds of sensor that may be recorded, where it is asked for.
    """

    video: Annotated[Literal["flag", "never"], Meta(description="flag or never")] = "flag"
    record: Annotated[
        tuple[Literal["signal", "audio", "video"], ...], Meta(description="a list of signal, audio, video")
    ] = ("signal", "audio", "video")


class Profile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a board runs best with. The command line's flags go before it.

    backend: which one runs the models where several are installed; ``auto`` leaves it to mmg. One that is not installed
        is no error: another one runs, and mmg-run says so.
    precision: which of the bundle's files.
    providers: onnxruntime's execution providers in order of preference.
    threads: threads a model.
    grace_s: how long after a hop's end a late sensor is waited for, in seconds.
    unknown: the share of what the model knows that may be refused as none of its labels; 0 tells it never.
    sensors: modality -> URL of the port or file it is on.
    rates: modality -> Hz that its port is asked for where its URL names none.
    gate: for ``--gate``, in place of the bundle's: which sensors watch, and what wakes the others.
    documents: dotted key -> where its value comes from, for each that was not measured on the board.
    """

    name: Text
    description: Text
    detect: Detect = Detect()
    backend: Annotated[Literal["auto", "onnx", "litert"], Meta(description="auto, onnx or litert")] = "auto"
    precision: Annotated[Literal["fp32", "int8"], Meta(description="fp32 or int8")] = "fp32"
    providers: Annotated[tuple[Provider, ...], Meta(min_length=1, description=PROVIDERS)] = ("CPUExecutionProvider",)
    threads: Annotated[int, Meta(ge=1, le=64, description="a whole number from 1 to 64")] = 1
    grace_s: Annotated[float, Meta(ge=0, le=10, description="0 to 10 seconds")] = 0.2
    unknown: Annotated[float, Meta(ge=0, le=0.4, description="a share from 0 to 0.4")] = 0.05
    sensors: dict[str, Url] = {}
    rates: dict[str, Positive] = {}
    gate: GatePolicy = GatePolicy()
    budget: Budget = Budget()
    energy: Energy = Energy()
    privacy: Privacy = Privacy()
    documents: dict[str, Text] = {}
