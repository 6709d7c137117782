"""The configuration of embedding: the section `embed` of params.yaml."""

from fclip.config import config


@config
class EmbedConfig:
    """The section `embed`: how the catalog is embedded."""

    device: str = "auto"
    """`auto` (CUDA if available, otherwise the CPU), `cpu`, `cuda` or `cuda:1`."""
    batch_size: int = 128
    """Images or texts that go through the model at once."""
    text: str = "title"
    """The kind of caption that is embedded: title, highlights, attributes or short. A product without it uses its first
    caption."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
