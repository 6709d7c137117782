"""Rules that read what protocols of the kind `label-free` measured on out-of-domain images, without their labels."""

from fclip.selection.candidates import Floats, Pool
from fclip.selection.rules.registry import Rule


def margin(pool: Pool) -> Floats:
    """The mean margin: how much nearer an image is to its nearest class than to the second."""
    found: Floats = pool.label_free["margin"].mean(axis=-1)
    return found


def alignment(pool: Pool) -> Floats:
    """Minus the mean alignment: the distance of an image to its nearest class (Wang & Isola 2020)."""
    found: Floats = -pool.label_free["alignment"].mean(axis=-1)
    return found


MARGIN = Rule(
    kind="margin",
    label="margin",
    description="The largest margin between the two nearest classes out of domain, without labels",
    score=margin,
    label_free_metric="margin",
)
ALIGNMENT = Rule(
    kind="alignment",
    label="alignment",
    description="The smallest distance to the nearest class out of domain, without labels",
    score=alignment,
    label_free_metric="alignment",
)
