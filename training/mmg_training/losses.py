"""The parts of the objective beyond cross-entropy, as plain functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def clip_contrastive(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Row i of ``a`` (B, D) belongs to row i of ``b`` (B, D) and to no other: symmetric InfoNCE over cosines (CLIP,
    Radford et al. 2021)."""
    return _matched(functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T / temperature)


def sequence_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Sequences (N, T, D) and (M, T, D) -> (N, M): the cosine of what is at the same hop, averaged over the hops. It
    compares what happens when, which one vector a clip cannot (the idea of C3T, Kamboj et al. 2024; the mean is ours).
    """
    return functional.normalize(a, dim=2).flatten(1) @ functional.normalize(b, dim=2).flatten(1).T / a.shape[1]


def sequence_contrastive(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """``clip_contrastive`` for sequences (B, T, D), by ``sequence_similarity``."""
    return _matched(sequence_similarity(a, b) / temperature)


def prototypical(support: Tensor, support_label: Tensor, query: Tensor, query_label: Tensor, scale: float) -> Tensor:
    """Cross-entropy of ``query`` (Q, T, D) against the prototypes, at each hop the mean of each label's normalised
    ``support`` (S, T, D), by ``sequence_similarity`` times ``scale`` (Snell et al. 2017; across modalities: MMG-Ego4D).
    One vector a clip is a sequence of one. A query whose label has no support does not count; with none left the loss
    is zero."""
    labels, index = torch.unique(support_label, return_inverse=True)
    members = functional.one_hot(index, len(labels)).to(support.dtype)  # (S, labels)
    prototypes = torch.einsum("sl,std->ltd", members, functional.normalize(support, dim=2))
    known = torch.isin(query_label, labels)
    if not known.any():
        return query.sum() * 0.0
    scores = scale * sequence_similarity(query[known], prototypes)
    return functional.cross_entropy(scores, torch.searchsorted(labels, query_label[known]))


def distil(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The Kullback-Leibler divergence of the teacher's softened labels from the student's, logits (B, L), times the
    squared temperature (Hinton et al. 2015). No gradient reaches the teacher."""
    wanted = functional.log_softmax(teacher.detach() / temperature, dim=1)
    got = functional.log_softmax(student / temperature, dim=1)
    return functional.kl_div(got, wanted, reduction="batchmean", log_target=True) * temperature**2


def _matched(scores: Tensor) -> Tensor:
    target = torch.arange(len(scores), device=scores.device)
    return 0.5 * (functional.cross_entropy(scores, target) + functional.cross_entropy(scores.T, target))
