"""onnxruntime: on the CPU unless a profile says otherwise, one thread a session by default, and no spinning threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.backends import CPU_ONLY, TELEMETRY_OFF
from mmg.errors import BackendUnavailable, ModelError, shortage

ON_HOST = {"CPUExecutionProvider", "XnnpackExecutionProvider"}
"""Providers that read the host's memory."""


def load_onnxruntime() -> Any:
    """The one way to import it, for its telemetry must be off before it loads. Raises BackendUnavailable."""
    os.environ.update(TELEMETRY_OFF)
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error  # Ctrl-C while its compiled part was loading
        raise BackendUnavailable("onnxruntime", "onnxruntime") from error
    onnxruntime.disable_telemetry_events()  # where it was there before mmg
    return onnxruntime


class OnnxSession:
    """A model loaded from verified bytes."""

    def __init__(self, data: bytes, name: str, *, threads: int, providers: tuple[str, ...]) -> None:
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        self._name = name
        try:
            there = onnxruntime.get_available_providers()
            chosen = [one for one in (*providers, *CPU_ONLY) if one in there]
            self._session = onnxruntime.InferenceSession(data, options, providers=list(dict.fromkeys(chosen)))
        except Exception as error:  # onnxruntime raises plain subclasses of Exception, a new one for each status
            raise ModelError(f"{name}: onnxruntime cannot load it: {_first_line(error)}") from error
        self.inputs: Mapping[str, tuple[int | str, ...]] = {t.name: tuple(t.shape) for t in self._session.get_inputs()}
        self.outputs: Mapping[str, tuple[int | str, ...]] = {
            t.name: tuple(t.shape) for t in self._session.get_outputs()
        }

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run once and return the named outputs. Raises ModelError."""
        try:
            outputs: list[NDArray[Any]] = self._session.run(list(names), dict(feeds))
        except Exception as error:  # as above: InvalidArgument, RuntimeException, ... share no other base
            raise ModelError(f"{self._name}: onnxruntime cannot run it: {_first_line(error)}") from error
        return outputs

    def bind(self, feeds: Mapping[str, NDArray[Any]], results: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """A call that runs from these arrays into those, in place. Raises ModelError, the call too."""
        if set(self._session.get_providers()) - ON_HOST:
            # A binding copies the inputs to such a device once, when it is made.
            def call() -> None:
                for name, value in zip(results, self.run(tuple(results), feeds), strict=True):
                    np.copyto(results[name], value)

            return call
        return _BoundRun(self._session, self._name, feeds, results)


class _BoundRun:
    """A run whose inputs and outputs are bound to arrays, which it keeps: the binding knows but the addresses."""

    def __init__(
        self, session: Any, name: str, feeds: Mapping[str, NDArray[Any]], results: Mapping[str, NDArray[Any]]
    ) -> None:
        self._session, self._name, self._arrays = session, name, (*feeds.values(), *results.values())
        self._binding = session.io_binding()
        try:
            for tensor, array in feeds.items():
                self._binding.bind_cpu_input(tensor, array)
            for tensor, array in results.items():
                self._binding.bind_output(tensor, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        except Exception as error:  # as above
            raise ModelError(f"{name}: onnxruntime cannot run it: {_first_line(error)}") from error

    def __call__(self) -> None:
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # as above
            raise ModelError(f"{self._name}: onnxruntime cannot run it: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return shortage(error) or str(error).strip().partition("\n")[0][:300]
