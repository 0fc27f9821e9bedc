"""The networks: a sequence cut into hops is the sequence, and the future never changes the past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmg_training.augment import random_rotations
from mmg_training.models.audio import folded_dft, folded_frames
from mmg_training.models.causal import StreamingEncoder
from mmg_training.models.fusion import Fusion
from mmg_training.models.multimodal import MultimodalModel, make_encoder, make_fusion
from mmg_training.models.sizes import SIZES, ModelConfig
from mmg_training.models.window import WindowEncoder
from mmg_training.task import CONTEXT_HOPS, TOKENS_PER_HOP, Task
from torch import Tensor, nn

TASK = Task("made up", ("a", "b", "c", "d"))
SMALL = ModelConfig(8, True, 8, 16, (4, 6, 8), 8, token_dim=6, embedding_dim=5, heads=2)
NAMES = TASK.modalities
HOPS = 14


def encoder_of(name: str, config: ModelConfig = SMALL) -> StreamingEncoder:
    torch.manual_seed(0)
    made = make_encoder(name, TASK, config)
    for module in made.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.running_mean, std=0.3)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.normal_(module.bias)
    return made.eval()


def samples_of(name: str, hops: int = HOPS, batch: int = 1, seed: int = 1) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    count, rest = TASK.samples_per_hop(name), {"imu": (6,), "audio": (1,), "video": (*TASK.frame, 3)}[name]
    if name == "video":
        return torch.randint(0, 256, (batch * hops * count, *rest), generator=noise, dtype=torch.uint8)
    return (0.2 if name == "audio" else 5) * torch.randn(batch, hops * count, *rest, generator=noise)


@pytest.mark.parametrize("plain", [False, True], ids=["all", "without axes and level"])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_sequence_cut_into_hops_gives_the_same_tokens(name: str, plain: bool) -> None:
    encoder = encoder_of(name, replace(SMALL, imu_axes=not plain, audio_level=not plain))
    samples, states = samples_of(name), encoder.initial()
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
        torch.testing.assert_close(state, end, atol=1e-5, rtol=1e-5)


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
    assert (before[1] - after[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_what_is_heard_reaches_back_between_one_and_five_seconds(name: str) -> None:
    encoder, samples = encoder_of(name), samples_of(name)
    changed = samples.clone()
    first = changed if name == "video" else changed[0]
    first[: len(first) // HOPS] = 0
    moved = (encoder(samples, encoder.initial())[0] - encoder(changed, encoder.initial())[0]).abs().amax(dim=(0, 2))
    reach_s = 0.5 * float(torch.nonzero(moved > 0).max() + 1) / TOKENS_PER_HOP[name]
    assert 1.0 <= reach_s <= 5.0


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_folding_the_norms_changes_nothing(name: str) -> None:
    encoder, folded, samples = encoder_of(name), encoder_of(name), samples_of(name)
    folded.fold()
    assert not any(isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) for module in folded.modules())
    expected = encoder(samples, encoder.initial())[0]
    torch.testing.assert_close(folded(samples, folded.initial())[0], expected, atol=1e-5, rtol=0)


def test_the_folded_transform_is_that_of_a_windowed_frame() -> None:
    sound = torch.randn(1, 480, generator=torch.Generator().manual_seed(3))
    even, odd = folded_frames(sound.reshape(1, 3, 160))
    cosines, sines = folded_dft(320)
    power = ((even @ cosines.T) ** 2 + (odd @ sines.T) ** 2)[0].numpy()
    window = np.hanning(321)[:320]  # periodic
    frames = np.stack([sound[0, :320].numpy(), sound[0, 160:].numpy()])
    expected = np.abs(np.fft.rfft(frames * window, axis=1) * (2 / window.sum())) ** 2
    np.testing.assert_allclose(power, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_sequences_of_a_batch_do_not_mix(name: str) -> None:
    encoder, samples = encoder_of(name), samples_of(name, hops=4, batch=3)
    together = encoder(samples, encoder.initial(3))[0]
    alone = torch.cat([encoder(one, encoder.initial())[0] for one in samples.chunk(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_window_longer_than_the_memory_gives_the_streamed_tokens(name: str) -> None:
    encoder, samples = encoder_of(name), samples_of(name)
    streamed, _ = encoder(samples, encoder.initial())
    window = WindowEncoder(encoder, HOPS - 1)
    tail = samples[len(samples) // HOPS :] if name == "video" else samples[:, samples.shape[1] // HOPS :]
    newest = streamed[:, -TOKENS_PER_HOP[name] :]
    assert window(tail).shape == newest.shape
    torch.testing.assert_close(window(tail), newest, atol=1e-5, rtol=0)


@torch.no_grad()
def test_without_axes_a_mounting_changes_nothing() -> None:
    torch.manual_seed(0)
    encoder = make_encoder("imu", TASK, replace(SMALL, imu_axes=False)).eval()
    samples = samples_of("imu") + torch.tensor([0, 0, 9.8, 0, 0, 0])
    turn = random_rotations(torch.Generator().manual_seed(0), 1)[0]
    turned = (samples.reshape(1, -1, 2, 3) @ turn.T).reshape(samples.shape)
    tokens, _ = encoder(samples, encoder.initial())
    torch.testing.assert_close(encoder(turned, encoder.initial())[0], tokens, atol=1e-4, rtol=0)
    with_axes = encoder_of("imu")
    before, after = (with_axes(x, with_axes.initial())[0] for x in (samples, turned))
    assert (before - after).abs().max() > 1e-2


def small_fusion() -> Fusion:
    made = make_fusion(TASK, SMALL).eval()
    assert isinstance(made, Fusion)
    return made


@torch.no_grad()
def test_absent_tokens_are_the_same_as_masked_ones() -> None:
    torch.manual_seed(0)
    fusion = small_fusion()
    tokens, kinds, ages = torch.randn(1, 12, 6), torch.randint(0, 3, (1, 12)), torch.randint(0, 8, (1, 12))
    present = torch.arange(12)[None] % 3 > 0
    masked = fusion(tokens, kinds, ages, present)
    fed = fusion(tokens[present][None], kinds[present][None], ages[present][None])
    for a, b in zip(masked, fed, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_what_only_training_works_out_changes_nothing(layers: int) -> None:
    torch.manual_seed(0)
    fusion = make_fusion(TASK, replace(SMALL, layers=layers, dropout=0.0))
    fed = torch.randn(3, 12, 6), torch.randint(0, 3, (3, 12)), torch.randint(0, 8, (3, 12)), torch.rand(3, 12) > 0.3
    for trained, used in zip(fusion.train()(*fed), fusion.eval()(*fed), strict=True):
        torch.testing.assert_close(trained, used, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_context_with_nothing_present_is_finite() -> None:
    fusion = small_fusion()
    zeros = torch.zeros(1, 4, dtype=torch.int32)
    logits, _ = fusion(torch.randn(1, 4, 6), zeros, zeros, torch.zeros(1, 4, dtype=torch.bool))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("fusion", ["transformer", "concatenation"])
@torch.no_grad()
def test_a_context_sees_only_its_own_hops(fusion: str) -> None:
    model = MultimodalModel(TASK, replace(SMALL, fusion=fusion)).eval()
    tokens = {"imu": torch.randn(2, 12, 1, 6)}
    row, hop = torch.tensor([0, 1]), torch.tensor([3, 11])
    present = torch.ones(2, 3, CONTEXT_HOPS, dtype=torch.bool)
    before, _ = model.fuse(tokens, row, hop, present)
    tokens["imu"][0, 4:] += 1.0
    tokens["imu"][1, :4] += 1.0
    after, _ = model.fuse(tokens, row, hop, present)
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)


@pytest.mark.parametrize("fusion", ["transformer", "concatenation"])
@torch.no_grad()
def test_what_is_not_present_changes_nothing(fusion: str) -> None:
    model = MultimodalModel(TASK, replace(SMALL, fusion=fusion)).eval()
    imu, audio = torch.randn(1, 8, 1, 6), torch.randn(1, 8, 2, 6)
    row, hop = torch.tensor([0]), torch.tensor([7])
    present = torch.zeros(1, 3, CONTEXT_HOPS, dtype=torch.bool)
    present[:, 0] = True
    alone, _ = model.fuse({"imu": imu}, row, hop, present)
    beside, _ = model.fuse({"imu": imu, "audio": audio}, row, hop, present)
    torch.testing.assert_close(alone, beside, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_larger_than_the_one_before(size: str) -> None:
    counts = {
        name: sum(value.numel() for value in MultimodalModel(TASK, config).parameters())
        for name, config in SIZES.items()
    }
    assert list(counts.values()) == sorted(counts.values())
    assert counts[size] < 4_000_000


def test_there_are_seven_subsets_and_the_whole_is_last() -> None:
    subsets = TASK.subsets()
    assert len(set(subsets)) == 7
    assert subsets[-1] == NAMES


@torch.no_grad()
def test_without_level_how_loud_a_sound_is_changes_nothing() -> None:
    encoder, sound = encoder_of("audio", replace(SMALL, audio_level=False)), samples_of("audio")
    loud, _ = encoder(sound, encoder.initial())
    for gain in (0.01, 0.1):
        quiet, _ = encoder(gain * sound, encoder.initial())
        torch.testing.assert_close(quiet, loud, atol=2e-3, rtol=0)
    silent, _ = encoder(0 * sound, encoder.initial())
    assert torch.isfinite(silent).all()
    assert (silent - loud).abs().max() > 0.1


@torch.no_grad()
def test_a_label_s_probability_is_that_of_its_kinds_summed() -> None:
    task = replace(TASK, kinds=("a1", "none", "a2"), kinds_of=(0, -1, 0))
    torch.manual_seed(0)
    fusion = make_fusion(task, replace(SMALL, dropout=0.0))
    assert isinstance(fusion, Fusion)
    tokens, zeros = torch.randn(3, 4, 6), torch.zeros(3, 4, dtype=torch.long)
    classes, _ = fusion.train()(tokens, zeros, zeros)
    labels, _ = fusion.eval()(tokens, zeros, zeros)
    assert (classes.shape, labels.shape) == ((3, 7), (3, 4))
    odds, summed = classes.exp(), labels.exp()
    torch.testing.assert_close(summed[:, 0], odds[:, [0, 4, 6]].sum(1))
    torch.testing.assert_close(summed[:, 1:], odds[:, 1:4])


@torch.no_grad()
def test_kinds_without_a_label_are_not_told() -> None:
    fusion = make_fusion(replace(TASK, kinds=("none",), kinds_of=(-1,)), SMALL).eval()
    zeros = torch.zeros(1, 4, dtype=torch.long)
    assert fusion(torch.randn(1, 4, 6), zeros, zeros)[0].shape == (1, len(TASK.labels))
