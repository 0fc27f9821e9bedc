"""Models that nobody vouches for, tried in a process of their own before they run in ours.

A room of its own, for it is neither a backend nor a bundle: it starts a process, watches it, and remembers in a folder
what ran well. Nothing of it is loaded for a bundle that is trusted.
"""

from mmg.trial.trial import Trial, require_models

__all__ = ["Trial", "require_models"]
