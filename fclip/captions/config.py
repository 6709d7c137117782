"""The configuration of captions: what is cleaned, how gender words are treated, templates for each kind."""

from collections.abc import Mapping
from typing import Literal

from fclip.captions.clean import CleaningConfig
from fclip.captions.templates import Template
from fclip.config import config

KINDS = ("title", "highlights", "attributes", "short")


@config
class CaptionTemplates:
    """The captions of one dataset.

    A template is a text with names of texts and attributes in braces, such as "{colour} {category}". A name that a
    product does not have is left out. Each kind has one template, a list of templates (each makes a caption), or null:
    no caption.
    """

    title: str | list[str] | None = None
    """Templates of the product's title."""
    highlights: str | list[str] | None = None
    """Templates of longer captions, from highlights or a description."""
    attributes: str | list[str] | None = None
    """Templates of captions from attributes."""
    short: str | list[str] | None = None
    """Templates of captions that are as short as queries."""
    head: str | None = None
    """Name of the text or attribute that says what the product is, such as category: a shortened caption keeps its
    words. null: a shortened caption keeps its beginning."""

    def __post_init__(self) -> None:
        for kind in KINDS:
            given = getattr(self, kind)
            if isinstance(given, list) and not given:
                raise ValueError(f"{kind} must be null, a template or a list of at least one, not []")
            for number, text in enumerate(_listed(given)):
                try:
                    Template.parse(text)
                except ValueError as error:
                    key = f"{kind}.{number}" if isinstance(given, list) else kind
                    raise ValueError(f"{key} {error}") from None
        if self.head is not None and not self.head.isidentifier():
            raise ValueError(f"head must be the name of a text or an attribute, not {self.head!r}")

    def parsed(self) -> Mapping[str, tuple[Template, ...]]:
        """The templates of the kinds that have some, in order."""
        listed = {kind: _listed(getattr(self, kind)) for kind in KINDS}
        return {kind: tuple(Template.parse(text) for text in texts) for kind, texts in listed.items() if texts}


@config
class CaptionSettings:
    """How the captions of every dataset are made."""

    gender: Literal["keep", "neutral"] = "keep"
    """`keep` gender words, or make texts `neutral`: English gender words are left out or replaced."""
    cleaning: CleaningConfig = CleaningConfig()
    """What is removed from the texts of products before templates are filled."""


@config
class CaptionConfig:
    """The section `caption`: how captions are made from the texts and attributes of products."""

    settings: CaptionSettings
    """How the captions of every dataset are made."""
    datasets: dict[str, CaptionTemplates]
    """Caption templates of each dataset in `ingest.datasets`, by its name."""


def _listed(templates: str | list[str] | None) -> list[str]:
    return [] if templates is None else [templates] if isinstance(templates, str) else templates
