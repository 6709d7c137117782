"""The pin of a dataset's source: create it, and verify that the source has not changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fclip.catalog.config import DatasetConfig
from fclip.catalog.judgements import describe_judgements
from fclip.catalog.sources.registry import SourceConfig, describe
from fclip.errors import UserError
from fclip.mirror.source_access import SourceAccess


@dataclass(frozen=True)
class SourcePin:
    """The state of a dataset's source at its last pinning.

    Attributes:
        facts: the facts that the source's `describe` returned: digests, `num_rows`, …
    """

    dataset: str
    facts: Mapping[str, object]

    def to_json(self) -> dict[str, Any]:
        """The content of pins/sources/<dataset>.json."""
        return {"dataset": self.dataset, **self.facts}

    @classmethod
    def from_json(cls, values: Any) -> "SourcePin":
        """Read a value of `to_json`. Raise ValueError for any other value."""
        match values:
            case {"dataset": str(dataset), **facts}:
                return cls(dataset, {str(name): fact for name, fact in facts.items()})
        raise ValueError("the pin of a source must have the key `dataset`")


def current_pin(
    dataset: str, config: DatasetConfig, access: SourceAccess, source: SourceConfig | None = None
) -> SourcePin:
    """Return the pin of the current state of the source and the judgements.

    Args:
        source: the resolved source (`at_pin`); None for the source of `config`.

    Raises:
        UserError: the source or the judgements do not exist.
    """
    judgements = {} if config.judgements is None else {"judgements": describe_judgements(config.judgements, access)}
    return SourcePin(dataset, {**describe(source or config.source, access), **judgements})


def verify_pin(
    dataset: str, config: DatasetConfig, source: SourceConfig, pin: SourcePin | None, *, access: SourceAccess
) -> None:
    """Raise UserError if the source is not pinned or has changed since `pin`."""
    if pin is None:
        raise UserError(f"the source of `{dataset}` is not pinned; run `fclip pin`")
    before, now = _flat(pin.to_json()), _flat(current_pin(dataset, config, access, source).to_json())
    if changed := sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key)):
        changes = ", ".join(_change(key, before.get(key), now.get(key)) for key in changed)
        raise UserError(f"the source of `{dataset}` changed since it was pinned ({changes}); run `fclip pin`")


def _flat(pin: Mapping[str, object]) -> dict[str, object]:
    """Flatten nested keys: `{"images": {"bytes": 1}}` becomes `{"images.bytes": 1}`."""
    flat: dict[str, object] = {}
    for key, value in pin.items():
        flat |= {f"{key}.{inner}": each for inner, each in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _change(key: str, before: object, now: object) -> str:
    short = all(isinstance(value, str | int | None) for value in (before, now))
    return f"{key}: {before} then, {now} now" if short else key
