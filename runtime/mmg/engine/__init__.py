"""The engine: chunks in, decisions out. Pure and deterministic: no threads, no clock, no input or output."""

from mmg.engine.engine import DEFAULT_GRACE_S, Engine

__all__ = ["DEFAULT_GRACE_S", "Engine"]
