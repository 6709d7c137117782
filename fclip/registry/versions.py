"""Versions of a registered model, their pins, and the lookup of a version by number or alias."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from fclip.errors import UserError
from fclip.registry import tags


@dataclass(frozen=True)
class VersionPin:
    """The number of a version and the digest of its weights, as in pins/champion.json."""

    registered_model: str
    version: int
    model_sha256: str

    @property
    def title(self) -> str:
        """Name of the version for messages."""
        return f"version {self.version} of {self.registered_model}"

    def to_json(self) -> dict[str, Any]:
        """Return the content of a pin file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> "VersionPin":
        """Return the pin from the result of `to_json`. Other keys are ignored. Raises ValueError for other content."""
        match values:
            case {"registered_model": str(name), "version": int(number), "model_sha256": str(digest)}:
                return cls(name, number, digest)
        raise ValueError("the pin of a version must have `registered_model`, `version` and `model_sha256`")


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        headline: primary metrics at registration, `<dataset>.<split>.<protocol>.<metric>` -> value.
        succeeds: the champion that it replaced; None if it replaced none.
    """

    registered_model: str
    version: int
    aliases: tuple[str, ...]
    model_sha256: str
    created_at: datetime
    run_id: str
    tags: Mapping[str, str]
    headline: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_champion(self) -> bool:
        return tags.CHAMPION in self.aliases

    @property
    def rolled_back(self) -> bool:
        return self.tags.get(tags.ROLLED_BACK) == "true"

    @property
    def succeeds(self) -> int | None:
        number = self.tags.get(tags.SUCCEEDS)
        return int(number) if number else None

    @property
    def pin(self) -> VersionPin:
        """The content of pins/champion.json while this version is the champion."""
        return VersionPin(self.registered_model, self.version, self.model_sha256)


def version_to_json(version: Version) -> dict[str, Any]:
    """Return the version as JSON values."""
    return {**asdict(version), "created_at": version.created_at.isoformat()}


def version_from_json(values: Mapping[str, Any]) -> Version:
    """Return the version from the result of `version_to_json`."""
    created_at = datetime.fromisoformat(values["created_at"])
    return Version(**{**values, "aliases": tuple(values["aliases"]), "created_at": created_at})


def version_named(present: Sequence[Version], name: str, *, registered_model: str) -> Version:
    """Return the version with the number or alias `name`.

    Args:
        present: all versions of `registered_model`.

    Raises:
        UserError: no version has this number or alias.
    """
    for version in present:
        if name == str(version.version) or name in version.aliases:
            return version
    known = ", ".join(" ".join([str(version.version), *version.aliases]) for version in present) or "none"
    raise UserError(f"{registered_model} has no version or alias `{name}`; its versions and aliases are {known}")
