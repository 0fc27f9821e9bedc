"""Device profiles: one TOML file a board, with the settings that suit it."""

from mmg_device_profiles.profile import Profile, detect_board, load_profile

__all__ = ["Profile", "detect_board", "load_profile"]
