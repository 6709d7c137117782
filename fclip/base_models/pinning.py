"""Pinning of base models. They are cached in folders named by their digests, and pinned with their origin."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fclip.base_models.hub import HUB_PREFIX
from fclip.base_models.registry import KindConfig, Origin, WriteRequest, base_models, pinned_settings
from fclip.errors import UserError
from fclip.files import sha256_code, sha256_json, sha256_tree
from fclip.remembered import recall, remember

CODE = ("base_models", "conversion", "models")
LIBRARIES = ("huggingface-hub", "open-clip-torch", "safetensors", "timm", "tokenizers", "torch", "transformers")
"""What the bytes of a model depend on besides its sources: packages of fclip, and installed packages."""


@dataclass(frozen=True)
class BaseModelPin:
    """The pinned version of a base model.

    Attributes:
        kind: `kind` of its config.
        settings: the other fields of its config.
        origin: the sources that it was made from.
        model_sha256: the digest of its folder (`fclip.models.digests.model_sha256`).
    """

    kind: str
    settings: Mapping[str, Any]
    origin: Origin
    model_sha256: str

    def matches(self, config: KindConfig) -> bool:
        """Whether this pins the base model that `config` names."""
        return self.kind == config.kind and dict(self.settings) == pinned_settings(config)

    @property
    def title(self) -> str:
        """Kind and name, for messages."""
        declaration = base_models().get(self.kind)
        field = declaration.title_field if declaration else None
        return f"{self.kind} {self.settings.get(field, '') if field else ''}".strip()

    @property
    def hub_repo(self) -> str | None:
        """The repository on the Hugging Face hub that it is from, `organisation/name`; None if it is not from there."""
        model = str(self.settings.get("model", ""))
        if model.startswith(HUB_PREFIX):
            return model.removeprefix(HUB_PREFIX)
        return model if self.origin.revision else None

    def to_json(self) -> dict[str, Any]:
        """Return the content of pins/base_model.json."""
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
        """Return the pin from the output of `to_json`; raises ValueError for anything else."""
        match values:
            case {"kind": str(kind), "from": dict(named), "sources": dict(sources), "model_sha256": str(digest)}:
                return cls(kind, named, Origin(sources, values.get("revision")), digest)
        raise ValueError("the pin of a base model has `kind`, `from`, `sources` and `model_sha256`")


def pin_base_model(config: KindConfig, *, root: Path, cache_dir: Path) -> BaseModelPin:
    """Return the pin of the current version of the base model. It is written to `cache_dir/<model_sha256>/`.

    While nothing changes that the model is written from, its pin is remembered. `fetch_base_model` verifies the folder.

    Args:
        root: base of relative paths in `config`.

    Raises:
        UserError: the model is unknown, missing, or cannot be downloaded.
    """
    memory = cache_dir / f"pin-{sha256_json([config.kind, pinned_settings(config)])[:16]}.json"
    state = _state(config, root)
    if (known := recall(memory, state)) is not None:
        pin = BaseModelPin.from_json(known)
        if (cache_dir / pin.model_sha256).is_dir():
            return pin
    with _temporary_model(config, None, root=root, cache_dir=cache_dir) as (folder, origin):
        digest = sha256_tree(folder)
        _keep(folder, cache_dir / digest)
    pin = BaseModelPin(config.kind, pinned_settings(config), origin, digest)
    remember(memory, state, pin.to_json())
    return pin


def _state(config: KindConfig, root: Path) -> Any | None:
    """Return the state of everything that the model is written from: sources, code and libraries; None if unknown."""
    sources = base_models()[config.kind].state(config, root)
    if sources is None:
        return None
    package = Path(__file__).parent.parent
    code = sha256_code(package / name for name in CODE)
    return [config.kind, pinned_settings(config), sources, code, [(name, version(name)) for name in LIBRARIES]]


def fetch_base_model(pin: BaseModelPin | None, config: KindConfig, *, root: Path, cache_dir: Path) -> Path:
    """Return the cached folder of the pinned base model. If it is not cached, it is written again and verified.

    Raises:
        UserError: no base model is pinned, the pin is for another base model than `config`, or the base model has
            changed since it was pinned.
    """
    digest = require_matching_pin(pin, config).model_sha256
    cached = cache_dir / digest
    if cached.is_dir() and sha256_tree(cached) == digest:
        return cached
    with _temporary_model(config, pin, root=root, cache_dir=cache_dir) as (folder, _):
        current = sha256_tree(folder)
        if current != digest:
            raise UserError(
                f"the base model has changed since it was pinned (digest {current[:12]}, but pins/base_model.json has "
                f"{digest[:12]}); run `fclip pin` to accept the current version"
            )
        _keep(folder, cached)
    return cached


def require_matching_pin(pin: BaseModelPin | None, config: KindConfig) -> BaseModelPin:
    """Return `pin`; raises UserError if it is None or for another base model than `config`."""
    if pin is None:
        raise UserError("the base model is not pinned (there is no pins/base_model.json); run `fclip pin`")
    if not pin.matches(config):
        raise UserError(
            "pins/base_model.json is for another base model than finetune.base_model in params.yaml; run `fclip pin`"
        )
    return pin


@contextmanager
def _temporary_model(
    config: KindConfig, pin: BaseModelPin | None, *, root: Path, cache_dir: Path
) -> Iterator[tuple[Path, Origin]]:
    """Context with a temporary folder in the cache that contains the model, and the model's origin."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=cache_dir, prefix=".base-model-"))
    try:
        request = WriteRequest(temporary, root, pin.origin if pin else None)
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
