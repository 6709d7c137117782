"""The indexes that the service answers from. It follows the pointers of `published/` without a restart."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from fclip.errors import UserError
from fclip.runtime.loading import load
from fclip.runtime.model import Model
from fclip.search.index import Index
from fclip.search.published import ROLES, Publication, Published, Role
from fclip.serve.errors import NotReady, NotThere

logger = logging.getLogger(__name__)
Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Served:
    """An index with its model. A request uses one of them from its start to its end.

    Attributes:
        publication: what the pointer says of the index. datasets: the names of its datasets.
    """

    role: Role
    index: Index
    publication: Publication
    datasets: frozenset[str]

    @property
    def model(self) -> Model:
        return self.index.model


class Indexes:
    """The current index of each role.

    `refresh` opens what a pointer names. If that fails, the index before goes on answering, and `problem` says why.
    """

    def __init__(self, root: Path, *, num_threads: int | None = None) -> None:
        """Args: root: the folder `published`. num_threads: threads of a model; None for one per core."""
        self.published = Published(root.resolve())
        self._num_threads = num_threads
        self._served: dict[Role, Served] = {}
        self._stamps: dict[Role, Stamp | None] = {}
        self._refreshing = asyncio.Lock()
        self.problems: dict[Role, str] = {}
        self.num_switches = 0

    async def get(self, role: Role) -> Served:
        """Return the current index of a role, opened anew if its pointer moved.

        Raises:
            NotThere: no index of the challenger is published. NotReady: none of the champion.
        """
        if self._stamp(role) != self._stamps.get(role, ()):
            async with self._refreshing:
                stamp = self._stamp(role)
                if stamp != self._stamps.get(role, ()):
                    await asyncio.to_thread(self._refresh, role)
                    self._stamps[role] = stamp
        if role in self._served:
            return self._served[role]
        reason = self.problems.get(role, "nothing is published")
        raise NotThere(reason) if role == "challenger" else NotReady(reason)

    def current(self) -> dict[Role, Served]:
        """Return the open indexes without looking at the pointers."""
        return dict(self._served)

    def close(self) -> None:
        """Free the models."""
        self._served.clear()

    def _stamp(self, role: Role) -> Stamp | None:
        try:
            status = self.published.pointer_file(role).stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _refresh(self, role: Role) -> None:
        if not self.published.has(role) and role == "challenger":  # it was withdrawn
            self._served.pop(role, None)
            self.problems[role] = "no index of the challenger is published; run `fclip publish --challenger`"
            return
        try:
            publication = self.published.pointer(role).current
            before = self._served.get(role)
            if before is None or before.publication.index != publication.index:
                model = self._model(publication.model_sha256)
                index = Index(self.published, role, publication, model=model)
            else:
                index = before.index
            datasets = frozenset(index.facets()["dataset"])
            self._served[role] = Served(role, index, publication, datasets)
            self.num_switches += before is not None
            self.problems.pop(role, None)
        except UserError as error:
            self.problems[role] = str(error)
            logger.error("%s: %s", role, error)

    def _model(self, model_sha256: str) -> Model:
        """Return the model of an index: one that is loaded already, or from `published/models`."""
        for served in self._served.values():
            if served.model.manifest.model_sha256 == model_sha256:
                return served.model
        folder = self.published.model_folder(model_sha256)
        model = load(folder, num_threads=self._num_threads)
        model.embed_texts(["warm up"])  # the graphs are loaded when they are first used
        return model


def roles_of(name: str) -> Role | None:
    """Return the role of this name; None if there is none."""
    return next((role for role in ROLES if role == name), None)
