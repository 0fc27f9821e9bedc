"""Where the commands that need torch begin: without what ``mmg-runtime[train]`` installs they say so in one line."""

from __future__ import annotations

from importlib import import_module

from mmg.cli.reporting import stderr_reporter


def train() -> int:
    """``mmg-train``."""
    return _main("mmg-train", "train")


def evaluate() -> int:
    """``mmg-eval``."""
    return _main("mmg-eval", "evaluate")


def study() -> int:
    """``mmg-study``."""
    return _main("mmg-study", "study")


def _main(command: str, module: str) -> int:
    try:
        code: int = import_module(f"mmg_training.cli.{module}").main()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mmg"):
            raise
        stderr_reporter(command)(
            f"{error.name} is not installed; in the project's folder: pip install -e '.[train,export]'"
        )
        return 2
    return code
