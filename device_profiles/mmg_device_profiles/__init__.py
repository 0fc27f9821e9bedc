"""Device profiles: one TOML file a board, with the settings that suit it, and which board this is."""

from mmg_device_profiles.board import Board, detect_board, read_board
from mmg_device_profiles.checking import ProfileProblem
from mmg_device_profiles.profile import list_boards, load_profile
from mmg_device_profiles.schema import Profile

__all__ = ["Board", "Profile", "ProfileProblem", "detect_board", "list_boards", "load_profile", "read_board"]
