"""The rule that reads nothing but the distance of the weights from those of the base model."""

from fclip.selection.candidates import Floats, Pool
from fclip.selection.rules.registry import Rule


def nearest_to_base(pool: Pool) -> Floats:
    """Negative distance of the weights from those of the base model.

    Among candidates that are as good in domain, the one that changed the base model least keeps most of what the base
    model could do. It is the one-standard-error rule (Breiman et al. 1984) with the base model as the simplest model.
    """
    return -pool.distances


NEAREST_TO_BASE = Rule(
    kind="nearest_to_base",
    label="distance from the base model",
    description="The weights nearest to the base model; reads no other dataset",
    score=nearest_to_base,
    prefers_base=True,
)
