"""Rules that read label-free metrics of out-of-domain images."""

from fclip.selection.candidates import Floats, Pool
from fclip.selection.rules.registry import Rule


def margin(pool: Pool) -> Floats:
    """Mean margin between the similarities of an image to its nearest and its second nearest class."""
    score: Floats = pool.label_free["margin"].mean(axis=-1)
    return score


def alignment(pool: Pool) -> Floats:
    """Negative mean alignment, the squared distance of an image to its nearest class (Wang & Isola 2020)."""
    score: Floats = -pool.label_free["alignment"].mean(axis=-1)
    return score


MARGIN = Rule(
    kind="margin",
    label="margin",
    description="Largest mean margin between the two nearest classes out of domain, without labels",
    score=margin,
    label_free_metric="margin",
)
ALIGNMENT = Rule(
    kind="alignment",
    label="alignment",
    description="Smallest mean distance to the nearest class out of domain, without labels",
    score=alignment,
    label_free_metric="alignment",
)
