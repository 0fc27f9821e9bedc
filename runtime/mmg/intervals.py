"""How wide an interval by a bootstrap is: the percentile one of Efron and Tibshirani, An Introduction to the Bootstrap
(1993), chapter 13. Of few people that is too narrow, and so it is expanded as by Hesterberg, What Teachers Should Know
about the Bootstrap (2015): cut where Student's t would leave 5 % out, and not the normal distribution.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

SHARE = 0.95
NORMAL = NormalDist()


def left_out(count: int) -> float:
    """The share of the draws to leave out on each side for an interval of 95 %. count: of people drawn, 2 at least."""
    return NORMAL.cdf(-sqrt(count / (count - 1)) * _student((1 + SHARE) / 2, count - 1))


def _student(share: float, freedom: float) -> float:
    """The quantile of Student's t, from four degrees of freedom on to within 0.01 (Abramowitz and Stegun, 26.7.5)."""
    z = NORMAL.inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
