"""Augmentation and resampling: what changes, and what never does."""

from __future__ import annotations

import numpy as np
import torch
from mmg_training.augment import Augment, at_pace, augment_audio, coloured, random_rotations, small_rotations
from mmg_training.config import (
    AugmentConfig,
)
from mmg_training.data.sessions import Session
from mmg_training.data.signals import resample
from mmg_training.data.sounds import at_peak
from torch import Tensor


def test_rotations_are_rotations() -> None:
    rng = torch.Generator().manual_seed(0)
    for turns in (random_rotations(rng, 50), small_rotations(torch.randn(50, 3, generator=rng))):
        torch.testing.assert_close(turns @ turns.transpose(1, 2), torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
        torch.testing.assert_close(torch.linalg.det(turns), torch.ones(50), atol=1e-5, rtol=0)
    quarter = small_rotations(torch.tensor([[0.0, 0.0, np.pi / 2]]))[0]
    torch.testing.assert_close(
        quarter @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0
    )


def test_another_pace_keeps_begin_end_and_order() -> None:
    ramp = torch.linspace(0, 1, 200)[None, :, None].expand(20, 200, 6)
    still = torch.zeros(20, 2)
    bent = at_pace(ramp, 0.1 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), still)
    torch.testing.assert_close(bent[:, [0, -1]], ramp[:, [0, -1]], atol=1e-4, rtol=0)
    assert (bent.diff(dim=1) >= 0).all()
    assert (bent - ramp).abs().max() > 0.01
    torch.testing.assert_close(at_pace(ramp, torch.zeros(20, 3), still), ramp, atol=1e-4, rtol=0)
    later = at_pace(ramp, torch.zeros(20, 3), torch.tensor([[0.1, 0.0]]).expand(20, 2))
    torch.testing.assert_close(later[:, [0, -1], 0], torch.tensor([[0.1, 1.0]]).expand(20, 2), atol=1e-4, rtol=0)


def test_both_modalities_of_a_sequence_keep_one_pace() -> None:
    ramp = np.linspace(1, 200, 32).astype(np.uint8)
    quiet = dict.fromkeys(("turn", "any_turn", "no_gyro", "strength", "noise", "shift", "zoom", "gain"), 0.0)
    config = AugmentConfig(pace=0.2, colour=0.0, light=0.0, mirror=False, **quiet)
    cuts = {
        "imu": torch.linspace(1, 200, 200)[None, :, None].expand(3, 200, 6).clone(),
        "video": torch.from_numpy(ramp)[None, :, None, None, None].expand(3, 32, 16, 16, 3).clone(),
    }
    rows = {"imu": torch.arange(3), "video": torch.arange(3)}
    made = Augment(config, ())(torch.Generator().manual_seed(1), cuts, rows, 3)
    along = made["imu"][:, torch.linspace(0, 199, 32).round().long(), 0]
    assert (along - made["video"][..., 0, 0, 0].float()).abs().max() < 8
    assert (along - cuts["video"][..., 0, 0, 0].float()).abs().max() > 8


def test_a_moved_and_marked_picture_keeps_what_is_no_return() -> None:
    still = dict.fromkeys(("zoom", "shift", "gain", "colour", "light"), 0.0)
    frames = torch.zeros(40, 2, 32, 24, 3, dtype=torch.uint8)
    frames[:, :, 8:24, 6:18] = 100
    rows, rng = {"video": torch.arange(40)}, torch.Generator().manual_seed(0)

    def made(**settings: float) -> Tensor:
        augment = Augment(AugmentConfig(mirror=False, **{**still, **settings}), ())
        return augment(rng, {"video": frames}, rows, 40)["video"]

    assert torch.equal(made(), frames)
    sloped, grainy = made(slope=20.0), made(grain=20.0)
    for one in (sloped, grainy):
        assert ((one == 0) == (frames == 0)).all()
    steps = sloped[:, 0, 8:24, 12, 0].float().diff(dim=1)
    assert (steps.amax(1) - steps.amin(1) <= 1).all()  # a straight slope, rounded
    assert steps.abs().mean() > 0.3
    assert not torch.equal(grainy[:, 0], grainy[:, 1])
    erased = made(erase=1.0)
    assert ((erased == frames) | (erased == 0)).all()
    assert torch.equal(erased[:, 0], erased[:, 1])
    assert (erased != frames).flatten(1).any(1).float().mean() > 0.5
    # The box stays as large when the camera rolls, but leaves its corners; a wider picture has a wider box.
    rolled = made(roll=0.2)
    assert 0.95 < rolled.float().mean() / frames.float().mean() < 1.05
    assert (rolled[:, 0, 8, 6, 0] < 100).float().mean() > 0.5
    columns = (made(stretch=0.3)[:, 0, 16, :, 0] > 0).sum(1)
    assert columns.min() < 12 < columns.max()


def test_resampling_a_straight_line_gives_the_middle_of_each_box() -> None:
    times_s = np.array([0.0, 0.007, 0.007, 0.019, 0.031, 0.05, 0.06])
    line = (3.0 * times_s)[:, None].astype(np.float32)
    np.testing.assert_allclose(resample(times_s, line, 50)[:, 0], 3.0 * np.array([0.01, 0.03, 0.05]), atol=1e-6)


def test_samples_of_one_time_are_averaged() -> None:
    times_s = np.array([0.0, 0.01, 0.01, 0.02])
    values = np.array([[0.0], [1.0], [3.0], [4.0]], np.float32)
    np.testing.assert_allclose(resample(times_s, values, 50), [[2.0]], atol=1e-6)


def test_a_sound_comes_at_any_level_whatever_its_own() -> None:
    rng = torch.Generator().manual_seed(0)
    tone = torch.sin(torch.arange(8000) * 0.1)
    for level in (30000, 300):
        cuts = (tone * level).to(torch.int16).expand(400, 8000)
        peaks = augment_audio(rng, cuts, (), AugmentConfig(level=1.0)).abs().amax(dim=(1, 2)).log10()
        assert -3.01 < peaks.min() < -2.9
        assert -0.1 < peaks.max() <= 0.001
        torch.testing.assert_close(peaks.mean(), torch.tensor(-1.5), atol=0.15, rtol=0)


def test_a_silent_sound_stays_a_number_at_any_level() -> None:
    silent = torch.zeros(4, 8000, dtype=torch.int16)
    made = augment_audio(torch.Generator().manual_seed(0), silent, (), AugmentConfig(level=1.0))
    assert made.isfinite().all()


def test_the_level_is_left_alone_unless_asked() -> None:
    tone = torch.sin(torch.arange(8000) * 0.1)

    def peaks(level: float, config: AugmentConfig) -> torch.Tensor:
        cuts = (tone * level).to(torch.int16).expand(20, 8000)
        return augment_audio(torch.Generator().manual_seed(1), cuts, (), config).abs().amax(dim=(1, 2)).log10()

    left, asked = (peaks(9000, config) - peaks(900, config) for config in (AugmentConfig(), AugmentConfig(level=1.0)))
    torch.testing.assert_close(left, torch.ones(20), atol=0.3, rtol=0)
    torch.testing.assert_close(asked, torch.zeros(20), atol=1e-3, rtol=0)


def test_a_colour_is_a_gain_at_each_frequency_and_moves_nothing_in_time() -> None:
    impulse = torch.zeros(2, 4000)
    impulse[:, 2000] = 1.0
    made = coloured(impulse, torch.tensor([[0.0] * 7, [0.0, 0.0, 0.0, 0.0, -12.0, -24.0, -24.0]]))
    torch.testing.assert_close(made[0], impulse[0], atol=1e-3, rtol=0)
    assert int(made[1].abs().argmax()) == 2000
    heard_db = 20 * torch.fft.rfft(made[1]).abs().log10()
    assert heard_db[:500].abs().max() < 2  # up to 2 kHz
    assert heard_db[1900:].max() < -15


def test_a_session_at_a_peak_is_the_same_sound() -> None:
    wave = (3000 * np.sin(np.arange(800))).astype(np.int16)
    session = Session("made", 0, np.zeros(2, np.int16), {"audio": wave})
    loud = at_peak(session, 1.0).samples["audio"]
    assert np.abs(loud).max() == 32767
    assert np.corrcoef(loud, wave)[0, 1] > 0.9999
    silent = Session("made", 0, np.zeros(2, np.int16), {"audio": wave * 0})
    assert not at_peak(silent, 1.0).samples["audio"].any()
