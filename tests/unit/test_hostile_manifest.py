"""A manifest that is valid and lies about its models: nothing but an mmg error comes out of any use of it."""

from __future__ import annotations

import copy
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fakes import audio_chunk, imu_chunk, video_chunk
from fuzzing import times
from goldens import write_golden_bundle
from mmg.bundle import Bundle
from mmg.bundle.compare import compare
from mmg.bundle.summary import describe, summarize
from mmg.bundle.verify import check_files
from mmg.engine import Engine
from mmg.errors import MmgError

CHUNKS = {"imu": imu_chunk, "audio": audio_chunk, "video": video_chunk}
VALUES: tuple[Any, ...] = (0, 1, 2, 3, 6, 25, 4096, -1, 0.5, 0.25, 1e300, "imu", "audio", "tokens", "samples", "a", "")


def changed(document: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """With up to three values replaced, doubled, taken out or exchanged with others of it."""
    document = copy.deepcopy(document)
    for _ in range(dice.randint(1, 3)):
        places = list(_places(document))
        part, key = dice.choice(places)
        kind = dice.randrange(4)
        if kind == 0 and isinstance(part, list):
            part.append(copy.deepcopy(part[key]))
        elif kind == 1:
            other, name = dice.choice(places)
            part[key] = copy.deepcopy(other[name])
        elif kind == 2:
            del part[key]
        else:
            part[key] = dice.choice(VALUES)
    return document


def _places(part: Any) -> list[tuple[Any, Any]]:
    """Every place in it, as what holds it and its key."""
    keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    return [place for key in keys for place in ((part, key), *_places(part[key]))]


def use(path: Path, other: Bundle) -> None:
    """All that is done with a bundle: shown, compared, verified, decided with."""
    with Bundle.open(path) as bundle:
        summarize(bundle), describe(bundle), compare(other, bundle)
        list(check_files(bundle, lambda _: None))
        names = [modality.name for modality in bundle.manifest.modalities if modality.name in CHUNKS]
        engine = Engine(bundle, names, grace_s=0.1)
        for name in names:
            engine.push(CHUNKS[name](0, 2))
        engine.advance(10_000_000_000)


@pytest.mark.fuzz
def test_a_manifest_that_lies_about_its_models_ends_in_an_mmg_error_or_in_decisions(tmp_path: Path) -> None:
    path, right = write_golden_bundle(tmp_path / "changed"), write_golden_bundle(tmp_path / "right")
    document = json.loads((right / "manifest.json").read_bytes())
    dice, used = random.Random(21), 0
    with Bundle.open(right) as other:
        for _ in range(times(400)):
            (path / "manifest.json").write_text(json.dumps(changed(document, dice)))
            with suppress(MmgError):
                use(path, other)
                used += 1
    assert used > 10
