"""How captions are made: templates, one a kind."""

from collections.abc import Mapping

from fclip.captions.templates import Template
from fclip.config import config

KINDS = ("title", "highlights", "attributes", "short")


@config
class CaptionTemplates:
    """A template a kind of caption, over the names of a product's texts and attributes; null: no such captions."""

    title: str | None
    highlights: str | None
    attributes: str | None
    short: str | None

    def __post_init__(self) -> None:
        for kind in KINDS:
            if (text := getattr(self, kind)) is not None:
                try:
                    Template.parse(text)
                except ValueError as error:
                    raise ValueError(f"{kind} {error}") from None

    def parsed(self) -> Mapping[str, Template]:
        """The templates that there are, by kind."""
        return {kind: Template.parse(text) for kind in KINDS if (text := getattr(self, kind)) is not None}


@config
class CaptionConfig:
    """The section `caption` of params.yaml."""

    datasets: dict[str, CaptionTemplates]
