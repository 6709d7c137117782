"""Rules that read in-domain validation, or the training step alone: what pipelines commonly choose by."""

from fclip.selection.candidates import Floats, Pool
from fclip.selection.rules.registry import Rule


def in_domain_loss(pool: Pool) -> Floats:
    """Minus the validation loss. The model card of FashionCLIP warns of it: it says little about generalisation."""
    return -pool.val_loss


def in_domain_metric(pool: Pool) -> Floats:
    """The primary metric on in-domain validation."""
    return pool.in_domain


def last(pool: Pool) -> Floats:
    """The training step."""
    return pool.steps


IN_DOMAIN_LOSS = Rule(
    kind="in_domain_loss",
    label="in-domain loss",
    description="The lowest loss in domain: the common choice, which says little about other domains",
    score=in_domain_loss,
    needs_val_loss=True,
)
IN_DOMAIN_METRIC = Rule(
    kind="in_domain_metric",
    label="in-domain metric",
    description="The highest primary metric in domain",
    score=in_domain_metric,
    scores_items=True,
)
LAST = Rule(
    kind="last",
    label="last checkpoint",
    description="The last checkpoint of the training",
    score=last,
    needs_steps=True,
)
