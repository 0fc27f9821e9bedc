"""The parts of the objective beyond cross-entropy, as plain functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def clip_contrastive(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Row i of ``a`` (B, D) belongs to row i of ``b`` (B, D) and to no other: symmetric InfoNCE over cosines (CLIP,
    Radford et al. 2021)."""
    return _matched(functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T / temperature)


def sequence_contrastive(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """The same for sequences (B, T, D): how alike two are is the mean over the hops of the cosine of that hop's tokens
    (C3T, Kamboj et al. 2024, aligns sequences of latent vectors)."""
    a, b = functional.normalize(a, dim=2), functional.normalize(b, dim=2)
    return _matched(torch.einsum("itd,jtd->ij", a, b) / (a.shape[1] * temperature))


def prototypical(support: Tensor, support_label: Tensor, query: Tensor, query_label: Tensor, scale: float) -> Tensor:
    """Cross-entropy of ``query`` (Q, D) against the prototypes, the mean of each label's normalised ``support`` (S, D),
    by cosine times ``scale`` (Snell et al. 2017; across modalities: MMG-Ego4D). A query whose label has no support does
    not count; with none left the loss is zero."""
    labels, index = torch.unique(support_label, return_inverse=True)
    members = functional.one_hot(index, len(labels)).to(support.dtype)  # (S, labels)
    prototypes = functional.normalize(members.T @ functional.normalize(support, dim=1), dim=1)
    known = torch.isin(query_label, labels)
    if not known.any():
        return query.sum() * 0.0
    scores = scale * functional.normalize(query[known], dim=1) @ prototypes.T
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
