"""Stop a run early that makes the model much worse than its base model (as in open_clip's issue 1093)."""

import math
from collections.abc import Sequence

from fclip.errors import UserError
from fclip.training.checkpoint import ValidatedCandidate
from fclip.training.config import FinetuneConfig

MARGIN = 0.5
"""How much the loss may rise in any case, such as at the highest learning rate."""


def check_first_pass(
    validated: Sequence[ValidatedCandidate], config: FinetuneConfig, *, steps_per_epoch: int, num_rows: int, remedy: str
) -> None:
    """Raise UserError if the first candidate after a whole pass has a much higher validation loss than the base model.

    The limit is half-way from the base model's loss to that of guessing, or twice the base model's loss if that is
    less: a loss is at least 0, so such a run has lost more than it could gain. The loss may always rise by `MARGIN`.
    Later candidates are not checked: on few products the validation loss may rise again while the ranking improves.

    Args:
        validated: the candidates so far, the base model first.
        num_rows: the rows of a validation batch.
        remedy: what the user can do.
    """
    base = validated[0]
    first = next((each for each in validated if each.step >= steps_per_epoch), None)
    if first is None or first.step != validated[-1].step:
        return
    guessing = math.log(num_rows)  # each row has the probability 1/n
    if config.objective.loss == "siglip":
        guessing -= (num_rows - 1) * math.log(1 - 1 / num_rows)
    limit = max(base.loss + MARGIN, min(2 * base.loss, (base.loss + guessing) / 2))
    if first.loss > limit:
        raise UserError(
            f"after step {first.step} the validation loss is {first.loss:.2f}, while the base model's was "
            f"{base.loss:.2f}: training has destroyed what the base model knew, so it stops here; {remedy}"
        )
