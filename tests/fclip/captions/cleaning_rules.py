"""The cleaning rules of a params file, and an empty set of rules."""

from typing import Any

import yaml

from fclip.captions.clean import CleaningConfig
from tests.conftest import REPOSITORY


def declared(preset: str = "params.yaml", **changes: Any) -> CleaningConfig:
    values = yaml.safe_load((REPOSITORY / preset).read_text())["caption"]["settings"].get("cleaning", {})
    return CleaningConfig(**{**values, **changes})


def none(**changes: Any) -> CleaningConfig:
    return CleaningConfig(**{"max_chars": 10**6, "html": False, "urls": False, "sku": [], "boilerplate": [], **changes})
