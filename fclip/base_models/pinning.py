"""Base models in the cache: written once, kept in a folder named by their digest, and pinned with their origin."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fclip.base_models.registry import KindConfig, Origin, Request, base_models, settings
from fclip.errors import UserError
from fclip.files import sha256_tree


@dataclass(frozen=True)
class BaseModelPin:
    """A base model as it was when it was last looked at.

    Attributes:
        kind: of its config.
        settings: the other fields of its config.
        model_sha256: the digest of its folder (`fclip.models.store.model_sha256`).
    """

    kind: str
    settings: Mapping[str, Any]
    origin: Origin
    model_sha256: str

    def of(self, config: KindConfig) -> bool:
        """Whether this pins the base model that `config` names."""
        return self.kind == config.kind and dict(self.settings) == settings(config)

    @property
    def title(self) -> str:
        """Kind and name, for people."""
        declaration = base_models().get(self.kind)
        field = declaration.title_field if declaration else None
        return f"{self.kind} {self.settings.get(field, '') if field else ''}".strip()

    def to_json(self) -> dict[str, Any]:
        """The content of pins/base_model.json."""
        revision = {"revision": self.origin.revision} if self.origin.revision else {}
        return {
            "kind": self.kind,
            "from": dict(self.settings),
            "sources": dict(self.origin.sources),
            **revision,
            "model_sha256": self.model_sha256,
        }

    @classmethod
    def from_json(cls, values: Any) -> "BaseModelPin":
        """The pin that `to_json` gave; raises ValueError for anything else."""
        match values:
            case {"kind": str(kind), "from": dict(named), "sources": dict(sources), "model_sha256": str(digest)}:
                return cls(kind, named, Origin(sources, values.get("revision")), digest)
        raise ValueError("the pin of a base model has `kind`, `from`, `sources` and `model_sha256`")


def pin_base_model(config: KindConfig, *, root: Path, cache_dir: Path) -> BaseModelPin:
    """Write the base model as it is now to `cache_dir/<model_sha256>/` and return its pin.

    Args:
        root: relative paths in `config` are relative to it.

    Raises:
        UserError: the model is unknown, missing, or cannot be reached.
    """
    with _written(config, None, root=root, cache_dir=cache_dir) as (folder, origin):
        digest = sha256_tree(folder)
        _keep(folder, cache_dir / digest)
    return BaseModelPin(config.kind, settings(config), origin, digest)


def fetch_base_model(pin: BaseModelPin | None, config: KindConfig, *, root: Path, cache_dir: Path) -> Path:
    """The folder of the pinned base model: from the cache by its digest, else written again and verified.

    Raises:
        UserError: nothing is pinned, the pin is of another base model than `config`, or the base model changed since
            it was pinned.
    """
    digest = require_pinned(pin, config).model_sha256
    cached = cache_dir / digest
    if cached.is_dir() and sha256_tree(cached) == digest:
        return cached
    with _written(config, pin, root=root, cache_dir=cache_dir) as (folder, _):
        found = sha256_tree(folder)
        if found != digest:
            raise UserError(
                f"the base model changed since it was pinned (pins/base_model.json has {digest[:12]}, found {found[:12]}): "
                "run `fclip pin` to accept what it is now"
            )
        _keep(folder, cached)
    return cached


def require_pinned(pin: BaseModelPin | None, config: KindConfig) -> BaseModelPin:
    """The pin; raises UserError unless it is of the base model that `config` names."""
    if pin is None:
        raise UserError("the base model is not pinned yet (pins/base_model.json): run `fclip pin`")
    if not pin.of(config):
        raise UserError("finetune.base_model in params.yaml is not what pins/base_model.json holds: run `fclip pin`")
    return pin


@contextmanager
def _written(
    config: KindConfig, pin: BaseModelPin | None, *, root: Path, cache_dir: Path
) -> Iterator[tuple[Path, Origin]]:
    """Yield a temporary folder with the model beside the cache, and its origin."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=cache_dir, prefix=".start-"))
    try:
        request = Request(temporary, root, pin.origin if pin else None)
        yield temporary, base_models()[config.kind].write(config, request)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _keep(folder: Path, target: Path) -> None:
    if target.is_dir():
        if sha256_tree(target) == target.name:
            return
        shutil.rmtree(target)  # damaged
    folder.chmod(0o755)
    folder.rename(target)
