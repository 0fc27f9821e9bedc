"""Where the commands that need torch begin: without what ``mmg-runtime[train]`` installs they say so in one line."""

from __future__ import annotations

from importlib import import_module

from mmg.cli.exit_codes import run_command
from mmg.cli.reporting import stderr_reporter
from mmg.errors import ConfigError


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
    """Loading torch takes seconds, and hundreds of MB: Ctrl-C and want of memory are told then too."""

    def run() -> int:
        try:
            code: int = import_module(f"mmg_training.cli.{module}").main()
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("mmg"):
                raise
            install = "in the project's folder: pip install -e '.[train,export]'"
            raise ConfigError(f"{error.name} is not installed; {install}") from error
        return code

    return run_command(run, stderr_reporter(command), stopped=130)
