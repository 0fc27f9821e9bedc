"""Health: does what a sensor delivers look like a working sensor, and can its values be what they are taken for?"""

from mmg.engine.health.advice import ReadAs, advise
from mmg.engine.health.finding import Finding
from mmg.engine.health.health import GOOD_HOPS_TO_LIFT, WELL, Health, Verdict

__all__ = ["GOOD_HOPS_TO_LIFT", "WELL", "Finding", "Health", "ReadAs", "Verdict", "advise"]
