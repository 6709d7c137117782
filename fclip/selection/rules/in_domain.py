"""Rules that read only in-domain validation or the training step, as most pipelines do."""

from fclip.selection.candidates import Floats, Pool
from fclip.selection.rules.registry import Rule


def in_domain_loss(pool: Pool) -> Floats:
    """Negative validation loss. It says little about generalisation, as the FashionCLIP model card warns."""
    return -pool.val_loss


def in_domain_metric(pool: Pool) -> Floats:
    """Mean primary metric on in-domain validation."""
    return pool.in_domain


def last(pool: Pool) -> Floats:
    """The training step."""
    return pool.steps


IN_DOMAIN_LOSS = Rule(
    kind="in_domain_loss",
    label="in-domain loss",
    description="Lowest validation loss in domain; common, but says little about other domains",
    score=in_domain_loss,
    needs_val_loss=True,
)
IN_DOMAIN_METRIC = Rule(
    kind="in_domain_metric",
    label="in-domain metric",
    description="Highest mean primary metric in domain",
    score=in_domain_metric,
    scores_items=True,
)
LAST = Rule(
    kind="last",
    label="last checkpoint",
    description="Last checkpoint of the training run",
    score=last,
    needs_steps=True,
)
