"""What sensors, arithmetic and memory would draw: an estimate from published figures, until a board is measured.

4.6 pJ a multiply-accumulate and 80 pJ a byte that is moved, and of the sensors a camera 35 mW, an IMU 1.2 and a
microphone 0.3. Whatever is made of them is to be labelled an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmg.bundle import Manifest

SENSOR_MW = {"signal": 1.2, "audio": 0.3, "video": 35.0}
PJ_A_MAC, PJ_A_BYTE = 4.6, 80.0
MW_A_PJ_A_S = 1e-9


def estimated_mw(manifest: Manifest, awake: Mapping[str, float]) -> float:
    """The mean power of a run, in mW.

    awake: of each modality of the run, the part of the time that its sensor is on. Weights and a hop's samples are
    taken to be moved once for each run of a model, and the fusion to see the tokens of those awake.
    """
    whole_mw, fused = 0.0, 0.0
    hops_a_s = 1 / manifest.hop_s
    tokens = {one.name: one.encoder.tokens_per_hop for one in manifest.modalities}
    for name, part in awake.items():
        modality = manifest.modality(name)
        size = math.prod(modality.sample_shape) * (1 if modality.frame else 4)  # in bytes, of one sample
        moved = modality.encoder.files[0].bytes + modality.samples_in(manifest.hop_s) * size
        picojoules = (modality.encoder.macs or 0) * PJ_A_MAC + moved * PJ_A_BYTE
        whole_mw += part * (SENSOR_MW[modality.kind] + picojoules * hops_a_s * MW_A_PJ_A_S)
        fused += part * tokens[name] / sum(tokens.values())
    fusion = (manifest.fusion.macs or 0) * fused * PJ_A_MAC + manifest.fusion.files[0].bytes * PJ_A_BYTE
    return whole_mw + fusion * hops_a_s * MW_A_PJ_A_S
