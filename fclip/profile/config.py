"""The configuration of drift warnings: the section `drift` of params.yaml."""

from fclip.config import config


@config
class DriftConfig:
    """The section `drift`: when a run warns that the catalog has changed since the champion was trained."""

    psi_warn: float = 0.2
    """Population stability index of a feature above which a run warns. Usual limits: 0.1 is some change, 0.25 is
    much."""
    max_new_fraction: float = 0.05
    """Largest fraction of products, from 0 to 1, with a value that the catalog of the champion does not have."""
    max_vanished_fraction: float = 0.05
    """Largest fraction of the champion's products, from 0 to 1, with a value that no product has now."""
    min_count: int = 20
    """Smallest number of products for a value to count separately; rarer values are counted together."""

    def __post_init__(self) -> None:
        if not self.psi_warn > 0:
            raise ValueError(f"psi_warn must be above 0, not {self.psi_warn}")
        for name in ("max_new_fraction", "max_vanished_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if self.min_count < 1:
            raise ValueError(f"min_count must be at least 1, not {self.min_count}")
