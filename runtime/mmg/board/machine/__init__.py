"""Facts about the machine, from the kernel's files: its condition, what holds its clock down, what is installed."""

from mmg.board.machine.condition import Condition, read_condition, throttled_between
from mmg.board.machine.software import read_commit, read_versions
from mmg.board.machine.tools import Tool, run_tool, tool_under

__all__ = [
    "Condition",
    "Tool",
    "read_commit",
    "read_condition",
    "read_versions",
    "run_tool",
    "throttled_between",
    "tool_under",
]
