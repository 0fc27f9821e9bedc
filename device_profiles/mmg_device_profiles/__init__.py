"""Device profiles: one TOML file a board, with the settings that suit it, and which board this is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmg_device_profiles.board import Board as Board
    from mmg_device_profiles.board import detect_board as detect_board
    from mmg_device_profiles.board import read_board as read_board
    from mmg_device_profiles.checking import ProfileProblem as ProfileProblem
    from mmg_device_profiles.profile import list_boards as list_boards
    from mmg_device_profiles.profile import load_profile as load_profile
    from mmg_device_profiles.schema import Profile as Profile

_HOMES = {
    "Board": "mmg_device_profiles.board",
    "Profile": "mmg_device_profiles.schema",
    "ProfileProblem": "mmg_device_profiles.checking",
    "detect_board": "mmg_device_profiles.board",
    "list_boards": "mmg_device_profiles.profile",
    "load_profile": "mmg_device_profiles.profile",
    "read_board": "mmg_device_profiles.board",
}
__all__ = ["Board", "Profile", "ProfileProblem", "detect_board", "list_boards", "load_profile", "read_board"]


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used: what lies here and needs no profile does without msgspec."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mmg_device_profiles' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
