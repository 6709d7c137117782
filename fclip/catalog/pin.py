"""What a pin holds of a dataset, and whether it still is so."""

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
    """What the source of a dataset was when it was last looked at.

    Attributes:
        facts: what its kind of source says of it (`describe`): digests, `num_rows`, …
    """

    dataset: str
    facts: Mapping[str, object]

    def to_json(self) -> dict[str, Any]:
        """The content of pins/sources/<dataset>.json."""
        return {"dataset": self.dataset, **self.facts}

    @classmethod
    def from_json(cls, values: Any) -> "SourcePin":
        """The pin that `to_json` gave; raises ValueError for anything else."""
        match values:
            case {"dataset": str(dataset), **facts}:
                return cls(dataset, {str(name): fact for name, fact in facts.items()})
        raise ValueError("the pin of a source has `dataset`")


def pin_of(dataset: str, config: DatasetConfig, outside: SourceAccess, source: SourceConfig | None = None) -> SourcePin:
    """What the source, `config`'s or another way to say it, and the judgements are now.

    Raises:
        UserError: one of them is not there.
    """
    judged = {} if config.judgements is None else {"judgements": describe_judgements(config.judgements, outside)}
    return SourcePin(dataset, {**describe(source or config.source, outside), **judged})


def verify_pin(
    dataset: str, config: DatasetConfig, source: SourceConfig, pin: SourcePin | None, *, outside: SourceAccess
) -> None:
    """Raise UserError unless the source is what `pin` says: pinned at all, and not changed since."""
    if pin is None:
        raise UserError(f"the source of `{dataset}` is not pinned yet: run `fclip pin`")
    before, now = _flat(pin.to_json()), _flat(pin_of(dataset, config, outside, source).to_json())
    if changed := sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key)):
        what = ", ".join(_change(key, before.get(key), now.get(key)) for key in changed)
        raise UserError(f"the source of `{dataset}` changed since it was pinned ({what}): run `fclip pin`")


def _flat(pin: Mapping[str, object]) -> dict[str, object]:
    """`{"images": {"bytes": 1}}` as `{"images.bytes": 1}`."""
    flat: dict[str, object] = {}
    for key, value in pin.items():
        flat |= {f"{key}.{inner}": each for inner, each in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _change(key: str, before: object, now: object) -> str:
    short = all(isinstance(value, str | int | None) for value in (before, now))
    return f"{key}: {before} then, {now} now" if short else key
