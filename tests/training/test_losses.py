"""Each loss against a case computed by hand, and what it must not do."""

from __future__ import annotations

import math

import pytest
import torch
from mmg_training.losses import clip_contrastive, distil, prototypical, sequence_contrastive, sequence_similarity
from torch import Tensor

RIGHT, UP = [1.0, 0.0], [0.0, 1.0]


def value(loss: Tensor) -> float:
    assert loss.dim() == 0
    return float(loss.detach())


def test_two_pairs_that_agree_cost_what_the_softmax_leaves() -> None:
    # Cosines [[1, 0], [0, 1]] at temperature 0.5: each row is softmax([2, 0]).
    a, b = torch.tensor([RIGHT, UP]), torch.tensor([[3.0, 0.0], [0.0, 0.2]])
    assert value(clip_contrastive(a, b, 0.5)) == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)
    assert value(clip_contrastive(a, b.flip(0), 0.5)) == pytest.approx(math.log(1 + math.exp(2)), abs=1e-6)


def test_what_is_alike_everywhere_costs_the_logarithm_of_the_count() -> None:
    same = torch.ones(5, 3)
    assert value(clip_contrastive(same, same, 0.1)) == pytest.approx(math.log(5), abs=1e-6)


def test_sequences_are_compared_hop_by_hop() -> None:
    # The same two tokens in another order: as sets they are equal, as sequences their cosine is 0.
    a, b = torch.tensor([[RIGHT, UP]]), torch.tensor([[RIGHT, UP], [UP, RIGHT], [RIGHT, RIGHT]])
    torch.testing.assert_close(sequence_similarity(a, b), torch.tensor([[1.0, 0.0, 0.5]]))


def test_two_sequences_in_opposite_order() -> None:
    a = torch.tensor([[RIGHT, UP], [UP, RIGHT]])
    assert value(sequence_contrastive(a, a, 1.0)) == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)
    assert value(sequence_contrastive(a, a.flip(0), 1.0)) == pytest.approx(math.log(1 + math.exp(1)), abs=1e-6)


def test_a_query_is_scored_against_the_mean_of_its_support() -> None:
    # Label 4: (right + up) / 2, label 7: left. The query "right" has cosines cos 45 degrees and -1.
    support = torch.tensor([[RIGHT], [UP], [[-2.0, 0.0]]])
    query = torch.tensor([[RIGHT]])
    half = math.sqrt(0.5)
    wanted = math.log(1 + math.exp(2 * (-1 - half)))
    loss = prototypical(support, torch.tensor([4, 4, 7]), query, torch.tensor([4]), 2.0)
    assert value(loss) == pytest.approx(wanted, abs=1e-6)


def test_queries_without_a_prototype_do_not_count() -> None:
    support, labels = torch.tensor([[RIGHT], [UP]]), torch.tensor([0, 1])
    query = torch.tensor([[RIGHT], [UP]], requires_grad=True)
    known = prototypical(support, labels, query[:1], torch.tensor([0]), 1.0)
    both = prototypical(support, labels, query, torch.tensor([0, 9]), 1.0)
    assert value(known) == pytest.approx(value(both))
    nothing = prototypical(support, labels, query, torch.tensor([8, 9]), 1.0)
    nothing.backward()  # type: ignore[no-untyped-call]
    assert value(nothing) == 0.0


def test_distillation_is_the_divergence_times_the_squared_temperature() -> None:
    # Softened by 2 the teacher is softmax([ln 3, 0]) = (3/4, 1/4), the student (1/2, 1/2).
    teacher, student = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert value(distil(student, teacher, 2.0)) == pytest.approx(4 * divergence, abs=1e-6)
    assert value(distil(teacher, teacher, 2.0)) == pytest.approx(0.0, abs=1e-6)


def test_no_gradient_reaches_the_teacher() -> None:
    teacher, student = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    distil(student, teacher, 2.0).backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", [clip_contrastive, sequence_contrastive])
def test_alignment_costs_less_when_pairs_are_matched(loss: object) -> None:
    shape = (16, 8) if loss is clip_contrastive else (16, 5, 8)
    a = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    near = a + 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(1))
    matched, shuffled = (value(loss(a, b, 0.1)) for b in (near, near.roll(1, 0)))  # type: ignore[operator]
    assert matched < 0.5 < shuffled
