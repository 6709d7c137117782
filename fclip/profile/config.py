"""What counts as drift."""

from fclip.config import config


@config
class DriftConfig:
    """The section `drift` of params.yaml: past what the flow warns.

    psi_warn: population stability index of a feature; conventionally 0.1 is some change and 0.25 much
    (`fclip.profile.stability`). max_new_fraction: of products, with a value that the champion's catalog did not have.
    max_vanished_fraction: of the champion's products, with a value that no product has now. min_count: products that
    a value needs to count by itself; rarer ones are taken together.
    """

    psi_warn: float
    max_new_fraction: float
    max_vanished_fraction: float
    min_count: int

    def __post_init__(self) -> None:
        if not self.psi_warn > 0:
            raise ValueError(f"psi_warn must be above 0, not {self.psi_warn}")
        for name in ("max_new_fraction", "max_vanished_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if self.min_count < 1:
            raise ValueError(f"min_count must be at least 1, not {self.min_count}")
