"""What this machine gives, told as JSON: ``python -m mmg.privacy.look`` closes all of itself, and asks a camera.

A process of its own, because what was closed stays so. For mmg-doctor.
"""

from __future__ import annotations

import json
import sys

from mmg.privacy import Uses, close_unused


def main() -> None:
    """Close, ask and tell."""
    sys.stdout.write(json.dumps(close_unused(Uses())._asdict()))


if __name__ == "__main__":
    main()
