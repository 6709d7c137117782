"""How the catalog is embedded: the section `embed` of params.yaml."""

from fclip.config import config


@config
class EmbedConfig:
    """text: the kind of caption of a product that is embedded; a product without it gives its first."""

    device: str
    batch_size: int
    text: str

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
