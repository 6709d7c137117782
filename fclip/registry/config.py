"""What promotion reads from params.yaml."""

from fclip.config import config


@config
class PromoteConfig:
    """The section `promote`.

    confidence: of the paired bootstrap interval by which a difference counts as significant, in (0, 1).
    """

    confidence: float

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, not {self.confidence}")
