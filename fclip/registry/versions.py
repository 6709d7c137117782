"""Versions of a registered model: what the registry says of one, how it is pinned, and which one a name means."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from fclip.errors import UserError
from fclip.registry import tags


@dataclass(frozen=True)
class VersionPin:
    """A version by its number and the digest of its weights, as pins/champion.json holds one."""

    registered_model: str
    version: int
    model_sha256: str

    @property
    def title(self) -> str:
        """The version, for people."""
        return f"version {self.version} of {self.registered_model}"

    def to_json(self) -> dict[str, Any]:
        """The content of a pin file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> "VersionPin":
        """The pin that `to_json` gave; other keys are ignored. Raises ValueError for anything else."""
        match values:
            case {"registered_model": str(name), "version": int(number), "model_sha256": str(digest)}:
                return cls(name, number, digest)
        raise ValueError("the pin of a version has `registered_model`, `version` and `model_sha256`")


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    headline: the primary metrics of the evaluation it was registered with, `<dataset>.<split>.<protocol>.<metric>`.
    succeeds: the version that it followed as champion, if it ever became one after another.
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
        """What pins/champion.json holds while this version is champion."""
        return VersionPin(self.registered_model, self.version, self.model_sha256)


def version_named(present: Sequence[Version], name: str, *, registered_model: str) -> Version:
    """The version that has the number or the alias `name`.

    Raises:
        UserError: there is none among `present`, which are all versions of `registered_model`.
    """
    for version in present:
        if name == str(version.version) or name in version.aliases:
            return version
    known = ", ".join(" ".join([str(version.version), *version.aliases]) for version in present) or "none"
    raise UserError(f"{registered_model} has no version or alias `{name}`: its versions and aliases are {known}")
