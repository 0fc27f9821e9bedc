"""LiteRT (TensorFlow Lite) on the CPU: ai-edge-litert, or the tflite-runtime that older boards have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.backends import INSTALL
from mmg.backends.holding import HOLDING
from mmg.errors import BackendUnavailable, ModelError, ShapeMismatch, shortage

Shape = tuple[int | str, ...]
RAISED = (ValueError, RuntimeError, TypeError, LookupError, ArithmeticError)
"""What LiteRT raises for a model that is not right: its own messages, and what its Python part meets in one."""


class LitertSession:
    """A model loaded from verified bytes, called by its signatures.

    LiteRT has no free dimensions. A file with several signatures, which differ in the size of one dimension only,
    stands for a model in which that one is free: a run takes the smallest that holds its arrays, the rest is zeros.
    Outputs do not have the free dimension.
    """

    def __init__(self, data: bytes, name: str, *, threads: int) -> None:
        self._name = name
        interpreter_of = load_interpreter()
        with HOLDING.around():
            self._open(interpreter_of, data, threads)
        self._ran: set[int] = set()

    def _open(self, interpreter_of: Any, data: bytes, threads: int) -> None:
        name = self._name
        try:
            self._interpreter = interpreter_of(model_content=data, num_threads=threads)
            keys = list(self._interpreter.get_signature_list())
            self._runners = [self._interpreter.get_signature_runner(key) for key in keys]
            ins = [_shapes(runner.get_input_details()) for runner in self._runners]
            outs = [_shapes(runner.get_output_details()) for runner in self._runners]
        except RAISED as error:
            raise ModelError(f"{name}: LiteRT cannot load it: {_first_line(error)}") from error
        if not self._runners:
            raise ModelError(f"{name}: has no signature: convert it with mmg-export or litert-torch")
        if any(set(one) != set(ins[0]) for one in ins) or any(one != outs[0] for one in outs):
            raise ModelError(f"{name}: its signatures differ in more than the size of one dimension")
        self.inputs: Mapping[str, Shape] = {tensor: _merge([one[tensor] for one in ins], name) for tensor in ins[0]}
        self.outputs: Mapping[str, Shape] = outs[0]
        if any(shape.count("N") > 1 for shape in self.inputs.values()):
            raise ModelError(f"{name}: its signatures differ in more than the size of one dimension")
        sizes = [_free_size(one, self.inputs) for one in ins]
        # Smallest first.
        order = sorted(range(len(sizes)), key=sizes.__getitem__)
        self._sizes, self._runners = [sizes[at] for at in order], [self._runners[at] for at in order]
        self._places: dict[str, int] = {}
        if len(self._runners) == 1:
            # A signature's own call sets the sizes anew and allocates every time. The interpreter's does not, but may
            # be used only once there is no signature's any more.
            self._places = {name: int(one["index"]) for name, one in self._runners[0].get_input_details().items()}
            self._ends = {name: int(one["index"]) for name, one in self._runners[0].get_output_details().items()}
            self._runners.clear()
            self._allocate()

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run once and return the named outputs. Raises ModelError, ShapeMismatch."""
        return self._run(self._smallest(feeds), names, feeds)

    def bind(self, feeds: Mapping[str, NDArray[Any]], results: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """A call that runs from these arrays into those, in place. Raises ModelError, ShapeMismatch, the call too."""
        at = self._smallest(feeds)
        if self._runners:
            names, arrays = tuple(results), tuple(results.values())

            def call() -> None:
                for array, value in zip(arrays, self._run(at, names, feeds), strict=True):
                    np.copyto(array, value)

            return call
        for tensor, array in feeds.items():
            self._fit(tensor, array, self._sizes[at])
        if unknown := set(results) - set(self._ends):
            raise ModelError(f"{self._name}: has no output {', '.join(sorted(unknown))}")
        return _BoundRun(
            self._interpreter,
            self._name,
            [(self._places[name], array) for name, array in feeds.items()],
            [(self._ends[name], array) for name, array in results.items()],
        )

    def _smallest(self, feeds: Mapping[str, NDArray[Any]]) -> int:
        """Which signature is the smallest that holds these arrays."""
        if set(feeds) != set(self.inputs):
            raise ShapeMismatch(f"{self._name}, inputs", ", ".join(feeds), ", ".join(self.inputs))
        wanted = _free_size({tensor: array.shape for tensor, array in feeds.items()}, self.inputs)
        for at, size in enumerate(self._sizes):
            if size >= wanted:
                return at
        raise ShapeMismatch(f"{self._name}, inputs", f"{wanted} tokens", f"{self._sizes[-1]} at most")

    def _run(self, at: int, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        if self._runners and at not in self._ran:  # what allocates its tensors once in good time does so again
            with HOLDING.around():
                outputs = self._run_one(at, names, feeds)
            self._ran.add(at)
            return outputs
        return self._run_one(at, names, feeds)

    def _run_one(self, at: int, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        entries = {tensor: self._fit(tensor, array, self._sizes[at]) for tensor, array in feeds.items()}
        try:
            outputs = self._runners[at](**entries) if self._runners else self._run_alone(entries)
            return [outputs[name] for name in names]
        except RAISED as error:
            raise ModelError(f"{self._name}: LiteRT cannot run it: {_first_line(error)}") from error

    def _allocate(self) -> None:
        try:
            self._interpreter.allocate_tensors()
        except RAISED as error:
            raise ModelError(f"{self._name}: LiteRT cannot load it: {_first_line(error)}") from error

    def _run_alone(self, entries: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs of the one signature that there is."""
        for name, array in entries.items():
            self._interpreter.set_tensor(self._places[name], array)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(end) for name, end in self._ends.items()}

    def _fit(self, tensor: str, array: NDArray[Any], size: int) -> NDArray[Any]:
        """The array at the size of a signature. LiteRT itself would resize the model to whatever it is given."""
        whole = tuple(size if isinstance(axis, str) else axis for axis in self.inputs[tensor])
        if array.shape == whole:
            return array
        fits = len(array.shape) == len(whole) and all(
            have <= size if isinstance(axis, str) else have == axis
            for have, axis in zip(array.shape, self.inputs[tensor], strict=True)
        )
        if not fits:
            raise ShapeMismatch(f"{self._name}, input {tensor}", list(array.shape), list(self.inputs[tensor]))
        padded = np.zeros(whole, array.dtype)
        padded[tuple(slice(have) for have in array.shape)] = array
        return padded


class _BoundRun:
    """A run whose arrays are known to fit: each goes into its tensor, or comes out of it, and nothing else is done."""

    def __init__(
        self,
        interpreter: Any,
        name: str,
        entries: Sequence[tuple[int, NDArray[Any]]],
        ends: Sequence[tuple[int, NDArray[Any]]],
    ) -> None:
        self._interpreter, self._name, self._entries, self._ends = interpreter, name, entries, ends

    def __call__(self) -> None:
        interpreter = self._interpreter
        try:
            for place, array in self._entries:
                interpreter.set_tensor(place, array)
            interpreter.invoke()
            for place, array in self._ends:
                array[...] = interpreter.get_tensor(place)
        except RAISED as error:
            raise ModelError(f"{self._name}: LiteRT cannot run it: {_first_line(error)}") from error


def load_interpreter() -> Any:
    """The class of either package. Raises BackendUnavailable."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as error:
            raise BackendUnavailable("LiteRT", INSTALL["litert"]) from error
    return Interpreter


def _shapes(details: Mapping[str, Mapping[str, Any]]) -> dict[str, Shape]:
    return {tensor: tuple(int(size) for size in detail["shape"]) for tensor, detail in details.items()}


def _merge(shapes: Sequence[Shape], name: str) -> Shape:
    """One shape for all signatures: ``N`` where they differ."""
    if len({len(shape) for shape in shapes}) > 1:
        raise ModelError(f"{name}: its signatures have inputs of different ranks")
    return tuple(sizes[0] if len(set(sizes)) == 1 else "N" for sizes in zip(*shapes, strict=True))


def _free_size(shapes: Mapping[str, Shape], free: Mapping[str, Shape]) -> int:
    """The size of the free dimension, 0 where there is none."""
    found = [
        int(size)
        for tensor, shape in free.items()
        for axis, size in zip(shape, shapes[tensor], strict=False)
        if isinstance(axis, str)
    ]
    return max(found, default=0)


def _first_line(error: Exception) -> str:
    return shortage(error) or str(error).strip().partition("\n")[0][:300]
