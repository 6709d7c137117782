"""How captions are made: what is cleaned, how gender is said, templates for each kind."""

from collections.abc import Mapping
from typing import Literal

from fclip.captions.clean import CleaningConfig
from fclip.captions.templates import Template
from fclip.config import config

KINDS = ("title", "highlights", "attributes", "short")


@config
class CaptionTemplates:
    """The captions of one dataset, over the names of its products' texts and attributes.

    Each kind has one template or several, each of which makes a caption; null: no such captions.

    Attributes:
        head: name of the text or attribute that says what the product is (its category): a caption that is shortened
            keeps these words where it has them. None: it keeps its beginning.
    """

    title: str | list[str] | None
    highlights: str | list[str] | None
    attributes: str | list[str] | None
    short: str | list[str] | None
    head: str | None = None

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
class CaptionConfig:
    """The section `caption` of params.yaml.

    Attributes:
        gender: "keep" the words, or make texts "neutral" by leaving out or replacing English ones (`gender`).
        cleaning: what is taken out of products' texts first.
    """

    gender: Literal["keep", "neutral"]
    cleaning: CleaningConfig
    datasets: dict[str, CaptionTemplates]


def _listed(templates: str | list[str] | None) -> list[str]:
    return [] if templates is None else [templates] if isinstance(templates, str) else templates
