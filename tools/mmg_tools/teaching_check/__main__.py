"""``python -m mmg_tools.teaching_check``: how well taught activities are known, as Markdown tables."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmg.bundle import Bundle
from mmg.cli.last_line import LAST_LINE
from mmg.cli.progress import counted
from mmg.cli.reporting import stderr_reporter
from mmg.errors import MmgError

from mmg_tools.teaching_check.again import again_table
from mmg_tools.teaching_check.cost import cost_table
from mmg_tools.teaching_check.crossing import crossing_table
from mmg_tools.teaching_check.motions import motion_table
from mmg_tools.teaching_check.recordings import TraceOf, actions, sounds
from mmg_tools.teaching_check.sound import sound_table
from mmg_tools.teaching_check.stream import life_table
from mmg_tools.teaching_check.sureness import sureness_table
from mmg_tools.teaching_check.untaught import untaught_sound_table, untaught_table

_report = stderr_reporter("teaching_check")
ROOT = Path(__file__).resolve().parents[3]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.teaching_check", description=__doc__)
    default = os.environ.get("MMG_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=default, help="the folder of real recordings (default: MMG_DATA)")
    parser.add_argument("--bundle", default="starter", help="whose encoders (default: starter)")
    parser.add_argument("--episodes", type=int, default=300, help="for each figure (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        with Bundle.open(options.bundle) as bundle:
            imu, hop_s, clips = TraceOf(bundle, "imu"), bundle.manifest.hop_s, actions(options.data)
            audio, heard = TraceOf(bundle, "audio"), sounds(options.data)
            tables: tuple[Callable[[], str], ...] = (
                lambda: motion_table(imu, clips, options.episodes, options.seed),
                lambda: life_table(imu, clips, options.data, hop_s, options.seed),
                lambda: untaught_table(imu, clips, options.data, hop_s, options.seed),
                lambda: again_table(imu, clips, options.data, hop_s, options.seed),
                lambda: sureness_table(imu, clips, options.data, hop_s, options.seed),
                lambda: sound_table(audio, heard, options.episodes, options.seed),
                lambda: untaught_sound_table(audio, heard, hop_s, options.seed),
                lambda: crossing_table(bundle, options.episodes, options.seed),
                lambda: cost_table(imu, clips, audio, heard, hop_s),
            )
            for table in counted(_report, "measured", tables, len(tables), "tables"):
                made = table()
                with LAST_LINE.above():
                    print(made, flush=True)
    except MmgError as error:
        _report(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
