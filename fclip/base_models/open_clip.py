"""Base models of open_clip: its built-in models, and repositories in open_clip's format on the Hugging Face hub."""

from pathlib import Path
from typing import Any, Literal

from fclip.base_models.hub import HUB_PREFIX, newest_commit
from fclip.base_models.registry import BaseModel, Origin, WriteRequest
from fclip.config import config
from fclip.errors import UserError
from fclip.models.digests import model_sha256
from fclip.models.folder import WEIGHTS


@config
class OpenClipConfig:
    """A model of open_clip: a built-in model, or a repository on the Hugging Face hub."""

    kind: Literal["open_clip"]
    model: str
    """Name of a built-in model, or `hf-hub:organisation/name`."""
    pretrained: str | None = None
    """Tag of the weights of a built-in model, such as openai; null for a model on the hub."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model must name a model of open_clip, or `hf-hub:organisation/name`")
        if self.model.startswith(HUB_PREFIX) == (self.pretrained is not None):
            raise ValueError("pretrained must be given for a built-in model, and only for one")


def write(config: OpenClipConfig, request: WriteRequest) -> Origin:
    """Download the weights through open_clip and write them with the tokenizer."""
    import open_clip

    from fclip.models import store

    model_cfg, uses_quick_gelu = _find_config(config)
    try:
        with store.quiet():
            model = open_clip.create_model(
                config.model,
                pretrained=config.pretrained,
                force_quick_gelu=uses_quick_gelu,
                require_pretrained=True,
                weights_only=True,
            )
            tokenizer = open_clip.get_tokenizer(config.model)
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"the base model {config.model} cannot be downloaded ({_last_line(error)}); "
            "check the network connection and the name"
        ) from error
    if uses_quick_gelu:
        model_cfg = {**model_cfg, "quick_gelu": True}
    store.write_model(model, model_cfg, tokenizer, request.out_dir)
    return Origin({WEIGHTS: model_sha256(request.out_dir)})


def _find_config(config: OpenClipConfig) -> tuple[dict[str, Any], bool]:
    """Return open_clip's config of the model, and whether its weights need the activation QuickGELU."""
    import open_clip

    from fclip.models.store import quiet

    if config.model.startswith(HUB_PREFIX):
        try:
            with quiet():
                return open_clip.get_model_config(config.model), False
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(
                f"the base model {config.model} cannot be downloaded ({_last_line(error)}); check the network "
                "connection and the name, and that the repository has an open_clip_config.json"
            ) from error
    model_cfg = open_clip.get_model_config(config.model)
    if model_cfg is None:
        raise UserError(f"open_clip has no model {config.model!r}; use a name from `open_clip.list_models()`")
    tag = open_clip.get_pretrained_cfg(config.model, config.pretrained)
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(config.model)) or "none"
        raise UserError(f"open_clip has no weights {config.pretrained!r} for {config.model}; use one of {tags}")
    return model_cfg, bool(tag.get("quick_gelu"))


def _last_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[-1][:300] if text else type(error).__name__


def _state(config: OpenClipConfig, root: Path) -> Any:
    """The newest commit on the hub. The weights of a built-in name and tag change only with open_clip's version."""
    return newest_commit(config.model.removeprefix(HUB_PREFIX), None) if config.model.startswith(HUB_PREFIX) else []


def _from_name(name: str) -> OpenClipConfig | None:
    return OpenClipConfig(kind="open_clip", model=name) if name.startswith(HUB_PREFIX) else None


OPEN_CLIP = BaseModel(
    kind="open_clip",
    label="OpenCLIP model",
    description="A model of open_clip: a built-in name with a tag of weights, or a repository on the hub.",
    config=OpenClipConfig,
    write=write,
    state=_state,
    title_field="model",
    name_form=f"{HUB_PREFIX}organisation/name",
    from_name=_from_name,
)
