"""What is published: pointers to the indexes of champion and challenger, and the products that were taken down.

    published/champion.json     the index of the champion, since when, and the ones before
    published/challenger.json   the same for the challenger; missing if there is none
    published/champion.md       the model card of the champion; challenger.md of the challenger
    published/excluded.json     products that no search returns
    published/indexes/NAME/     indexes, each written once (`fclip.search.manifest`)
    published/models/DIGEST/    the models that embed queries, for the light runtime

A pointer moves by one rename. Whoever changes a file here holds the lock of the workspace's publications.
"""

import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fclip.errors import UserError
from fclip.files import read_json, write_json

Role = Literal["champion", "challenger"]
ROLES: tuple[Role, ...] = ("champion", "challenger")
MAX_HISTORY = 50


@dataclass(frozen=True)
class Publication:
    """An index that was published.

    Attributes:
        index: name of its folder. model_sha256: the model that embedded it, and embeds its queries.
        version: the registered version of the model; None if it is not registered.
        since: when the pointer moved to it, in UTC, ISO 8601.
        decision: what a person decided about the version last, who, when and why; "" for nothing.
    """

    index: str
    model_sha256: str
    version: int | None
    since: str
    decision: str = ""


@dataclass(frozen=True)
class Pointer:
    """The index in use, and the ones before, the latest first."""

    current: Publication
    previous: tuple[Publication, ...] = ()


@dataclass(frozen=True)
class Exclusion:
    """A product that was taken down, and when, in UTC, ISO 8601."""

    dataset: str
    product_id: str
    since: str


@dataclass(frozen=True)
class Published:
    """The folder `published` of a workspace, or a copy of it."""

    root: Path

    @classmethod
    def find(cls, path: Path) -> "Published":
        """Return the publications of a workspace, or of a folder `published`.

        Raises:
            UserError: nothing is published there.
        """
        for root in (path / "published", path):
            if any((root / f"{role}.json").is_file() for role in ROLES):
                return cls(root.resolve())
        raise UserError(f"nothing is published in {path}; run `fclip retrain` there, or `fclip publish`")

    def pointer_file(self, role: Role) -> Path:
        return self.root / f"{role}.json"

    def card_file(self, role: Role) -> Path:
        """The model card of the published model, in Markdown; it exists if the model is registered."""
        return self.root / f"{role}.md"

    @property
    def exclusions_file(self) -> Path:
        return self.root / "excluded.json"

    @property
    def indexes(self) -> Path:
        return self.root / "indexes"

    @property
    def models(self) -> Path:
        return self.root / "models"

    def index_folder(self, publication: Publication) -> Path:
        return self.indexes / publication.index

    def model_folder(self, model_sha256: str) -> Path:
        return self.models / model_sha256

    def has(self, role: Role) -> bool:
        """Whether an index of this role is published."""
        return self.pointer_file(role).is_file()

    def pointer(self, role: Role) -> Pointer:
        """Return what is published.

        Raises:
            UserError: nothing is, the file is damaged, or its index does not exist.
        """
        path = self.pointer_file(role)
        try:
            pointer = _parse_pointer(read_json(path))
        except FileNotFoundError:
            remedy = "`fclip publish --challenger`" if role == "challenger" else "`fclip publish`"
            raise UserError(f"no index of the {role} is published in {self.root}; run {remedy}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error}); run `fclip publish` to write it again") from error
        if not self.index_folder(pointer.current).is_dir():
            raise UserError(
                f"{path} points to the index {pointer.current.index}, which does not exist; go back with `fclip index "
                "--rollback`, or run `fclip publish`"
            )
        return pointer

    def switch(self, role: Role, publication: Publication) -> bool:
        """Point to an index, by one rename. Return whether the pointer moved."""
        before = self._recorded(role)
        if before and replace(before.current, since=publication.since) == publication:
            return False
        earlier = (before.current, *before.previous) if before else ()
        self._write(role, Pointer(publication, earlier[:MAX_HISTORY]))
        return True

    def roll_back(self, role: Role, since: str) -> Pointer:
        """Point to the index before, and return the pointer.

        Raises:
            UserError: there is no earlier index, or it was deleted.
        """
        before = self._recorded(role)
        if before is None:
            return self.pointer(role)  # raises
        for number, publication in enumerate(before.previous):
            if publication.index != before.current.index and self.index_folder(publication).is_dir():
                pointer = Pointer(replace(publication, since=since), before.previous[number + 1 :])
                self._write(role, pointer)
                return pointer
        raise UserError(
            f"there is no earlier index of the {role} to go back to; params.yaml: search.keep sets how many stay"
        )

    def withdraw(self, role: Role) -> None:
        """Remove a pointer, for example if there is no challenger any more."""
        self.pointer_file(role).unlink(missing_ok=True)
        self.card_file(role).unlink(missing_ok=True)

    def exclusions(self) -> tuple[Exclusion, ...]:
        """Return the products that were taken down.

        Raises:
            UserError: the file is damaged. Nothing is searched then, because it may name a product.
        """
        try:
            values = read_json(self.exclusions_file)
            return tuple(Exclusion(**{key: str(each[key]) for key in each}) for each in values)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.exclusions_file} is damaged ({error}), so the products that were taken down are unknown; "
                "restore it, or delete it and repeat `fclip takedown`"
            ) from error

    def write_exclusions(self, exclusions: Iterable[Exclusion]) -> None:
        """Replace the list of products that were taken down."""
        ordered = sorted(exclusions, key=lambda each: (each.dataset, each.product_id))
        write_json(self.exclusions_file, [asdict(each) for each in ordered])

    def clean(self, *, keep: int) -> None:
        """Delete what interrupted builds left, indexes beyond the `keep` earlier ones of a role, and unused models."""
        indexes, models = set(), set()
        for role in ROLES:
            if pointer := self._recorded(role):
                earlier = [each for each in pointer.previous if each.index != pointer.current.index]
                existing = [each for each in earlier if self.index_folder(each).is_dir()]
                distinct = list(dict.fromkeys(each.index for each in existing))[:keep]
                kept = [pointer.current, *(each for each in existing if each.index in distinct)]
                indexes |= {each.index for each in kept}
                models |= {each.model_sha256 for each in kept}
        known = {self.indexes: indexes, self.models: models}
        for folder, names in known.items():
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.name not in names:
                    shutil.rmtree(path)
        for path in self.root.iterdir():  # of earlier formats
            if path.is_dir() and path not in known:
                shutil.rmtree(path)

    def _recorded(self, role: Role) -> Pointer | None:
        """Return the pointer without looking for its index; None if there is none, or if it is damaged."""
        try:
            return _parse_pointer(read_json(self.pointer_file(role)))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, role: Role, pointer: Pointer) -> None:
        write_json(self.pointer_file(role), asdict(pointer))


def _parse_pointer(values: Any) -> Pointer:
    return Pointer(
        Publication(**values["current"]), tuple(Publication(**publication) for publication in values["previous"])
    )
