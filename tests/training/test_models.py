"""The networks: a sequence cut into hops is the sequence, and the future never changes the past."""

from __future__ import annotations

import pytest
import torch
from mmg_training.contract import AUDIO_HOP, CONTEXT_HOPS, FRAME, IMU_HOP, TOKENS_PER_HOP, VIDEO_HOP, subsets
from mmg_training.models.audio import AudioConfig, AudioEncoder
from mmg_training.models.causal import StreamingEncoder
from mmg_training.models.fusion import Fusion, FusionConfig
from mmg_training.models.imu import ImuConfig, ImuEncoder
from mmg_training.models.multimodal import ModelConfig, MultimodalModel
from mmg_training.models.video import VideoConfig, VideoEncoder
from torch import Tensor, nn

NAMES = ("imu", "audio", "video")
HOPS = 10


def encoder_of(name: str) -> StreamingEncoder:
    torch.manual_seed(0)
    made: dict[str, StreamingEncoder] = {
        "imu": ImuEncoder(ImuConfig(width=8, token_dim=6)),
        "audio": AudioEncoder(AudioConfig(width=8, token_dim=6)),
        "video": VideoEncoder(VideoConfig(widths=(4, 6, 8), width=8, token_dim=6)),
    }
    for module in made[name].modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.running_mean, std=0.3)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.normal_(module.bias)
    return made[name].eval()


def samples_of(name: str, hops: int = HOPS, batch: int = 1, seed: int = 1) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    if name == "video":
        return torch.randint(0, 256, (batch * hops * VIDEO_HOP, *FRAME, 3), generator=noise, dtype=torch.uint8)
    if name == "audio":
        return 0.2 * torch.randn(batch, hops * AUDIO_HOP, 1, generator=noise)
    return 5 * torch.randn(batch, hops * IMU_HOP, 6, generator=noise)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_sequence_cut_into_hops_gives_the_same_tokens(name: str) -> None:
    encoder, samples, states = encoder_of(name), samples_of(name), encoder_of(name).initial()
    whole, last = encoder(samples, states)
    tokens = []
    for hop in samples.chunk(HOPS, dim=0 if name == "video" else 1):
        part, states = encoder(hop, states)
        tokens.append(part)
    assert whole.shape == (1, HOPS * TOKENS_PER_HOP[name], 6)
    assert whole.std() > 0.05
    torch.testing.assert_close(torch.cat(tokens, dim=1), whole, atol=1e-5, rtol=0)
    for state, end, shape in zip(states, last, encoder.state_shapes, strict=True):
        assert state.shape == shape
        torch.testing.assert_close(state, end, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_future_never_changes_the_past(name: str) -> None:
    encoder, samples = encoder_of(name), samples_of(name)
    changed = samples.clone()
    half = samples_of(name, hops=HOPS // 2, seed=2)
    if name == "video":
        changed[len(samples) // 2 :] = half
    else:
        changed[:, samples.shape[1] // 2 :] = half
    before, after = (encoder(x, encoder.initial())[0].chunk(2, dim=1) for x in (samples, changed))
    torch.testing.assert_close(before[0], after[0], atol=0, rtol=0)
    assert (before[1] - after[1]).abs().max() > 0.01


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_what_is_heard_reaches_back_between_one_and_three_seconds(name: str) -> None:
    encoder, samples = encoder_of(name), samples_of(name)
    changed = samples.clone()
    first = changed if name == "video" else changed[0]
    first[: len(first) // HOPS] = 0
    moved = (encoder(samples, encoder.initial())[0] - encoder(changed, encoder.initial())[0]).abs().amax(dim=(0, 2))
    reach_s = 0.5 * float(torch.nonzero(moved > 0).max() + 1) / TOKENS_PER_HOP[name]
    assert 1.0 <= reach_s <= 3.5


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_folding_the_norms_changes_nothing(name: str) -> None:
    encoder, folded, samples = encoder_of(name), encoder_of(name), samples_of(name)
    folded.fold()
    assert not any(isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) for module in folded.modules())
    expected = encoder(samples, encoder.initial())[0]
    torch.testing.assert_close(folded(samples, folded.initial())[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_sequences_of_a_batch_do_not_mix(name: str) -> None:
    encoder, samples = encoder_of(name), samples_of(name, hops=4, batch=3)
    together = encoder(samples, encoder.initial(3))[0]
    alone = torch.cat([encoder(one, encoder.initial())[0] for one in samples.chunk(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_absent_tokens_are_the_same_as_masked_ones() -> None:
    torch.manual_seed(0)
    fusion = Fusion(FusionConfig(labels=4, token_dim=8, heads=2)).eval()
    tokens, kinds, ages = torch.randn(1, 12, 8), torch.randint(0, 3, (1, 12)), torch.randint(0, 8, (1, 12))
    present = torch.arange(12)[None] % 3 > 0
    masked = fusion(tokens, kinds, ages, present)
    fed = fusion(tokens[present][None], kinds[present][None], ages[present][None])
    for a, b in zip(masked, fed, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_context_with_nothing_present_is_finite() -> None:
    fusion = Fusion(FusionConfig(token_dim=8, heads=2)).eval()
    zeros = torch.zeros(1, 4, dtype=torch.int32)
    logits, _ = fusion(torch.randn(1, 4, 8), zeros, zeros, torch.zeros(1, 4, dtype=torch.bool))
    assert torch.isfinite(logits).all()


@torch.no_grad()
def test_a_context_sees_only_its_own_hops() -> None:
    model = MultimodalModel(ModelConfig()).eval()
    tokens = {"imu": torch.randn(2, 12, 1, 64)}
    row, hop = torch.tensor([0, 1]), torch.tensor([3, 11])
    present = torch.ones(2, 3, CONTEXT_HOPS, dtype=torch.bool)
    before, _ = model.fuse(tokens, row, hop, present)
    tokens["imu"][0, 4:] += 1.0
    tokens["imu"][1, :4] += 1.0
    after, _ = model.fuse(tokens, row, hop, present)
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)


def test_there_are_seven_subsets_and_the_whole_is_last() -> None:
    assert len(set(subsets())) == 7
    assert subsets()[-1] == NAMES
