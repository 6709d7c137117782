"""The configuration of the published index: the section `search` of params.yaml."""

from fclip.config import config


@config
class SearchConfig:
    """The section `search`: how the index is built and how long it is kept."""

    exact_below: int = 300_000
    """Up to this number of images, search is exact. Above, an approximate index is built, if it is good enough."""
    min_recall: float = 0.95
    """Share of the 10 nearest images that the approximate index must find; otherwise search stays exact."""
    keep: int = 1
    """Number of earlier indexes that stay for a rollback, for each of champion and challenger."""
    challenger: bool = False
    """Whether scheduled runs also publish an index of the challenger."""

    def __post_init__(self) -> None:
        if self.exact_below < 0:
            raise ValueError("exact_below must not be negative")
        if not 0 < self.min_recall <= 1:
            raise ValueError("min_recall must be above 0 and at most 1")
        if self.keep < 1:
            raise ValueError("keep must be at least 1, since a search may still read the index before")
