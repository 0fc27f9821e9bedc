"""Reading a command's words; what ``--help`` and ``--version`` print is its output like any other."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import TypeVar

from mmg.cli.output import drop, let_output_wait
from mmg.cli.reporting import write_stderr
from mmg.printable import as_line

Options = TypeVar("Options")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Ends the process as argparse does, and with 2 and a line where its output takes nothing: argparse
    itself keeps quiet then."""
    return _marked(_parsed(parser, lambda: parser.parse_args(arguments)), arguments)


def parse_known(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, list[str]]:
    """The same, and the words that are of another command."""
    options, others = _parsed(parser, lambda: parser.parse_known_args(arguments))
    return _marked(options, arguments), others


def _marked(options: argparse.Namespace, arguments: Sequence[str] | None) -> argparse.Namespace:
    """is_own_process: whether the words are the process's own, and no other program called the command."""
    options.is_own_process = arguments is None
    return options


def _parsed(parser: argparse.ArgumentParser, read: Callable[[], Options]) -> Options:
    said, wrong = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(wrong):
            return read()
    except SystemExit as end:
        if said.getvalue() and not _written(said.getvalue(), parser.prog):
            raise SystemExit(2) from end
        raise
    finally:
        usage, mark, problem = wrong.getvalue().partition(": error: ")
        if usage:  # a word may be a file's name, which a shell found
            write_stderr(usage + mark + (as_line(problem.removesuffix("\n")) + "\n" if mark else ""))


def _written(text: str, prog: str) -> bool:
    if sys.stdout is None:
        return True
    let_output_wait()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        is_left = isinstance(error, BrokenPipeError)  # the reader has left, as ``head`` does
        if not is_left:
            write_stderr(f"{prog}: cannot write: {error.strerror}\n")
        drop(sys.stdout)
        sys.stdout = None
        return is_left
    return True
