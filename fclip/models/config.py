"""Where the start weights come from: one config a kind of start."""

import re
from typing import Annotated, Any, Literal, TypeAlias

from fclip.config import ByKind, config

HUB_PREFIX = "hf-hub:"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@config
class TowersStart:
    """An image and a text tower from two pip packages, joined offline (`fclip.models.towers`).

    Attributes:
        image_tower: EfficientNet-Lite0, -Lite1 or -Lite2; the latter two are packages to install.
        resize_mode: of images that are not square: "shortest" (a centre crop), "longest" (white beside them), "squash".
    """

    kind: Literal["towers"]
    image_size: int
    context_length: int
    image_tower: Literal["lite0", "lite1", "lite2"] = "lite0"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"

    def __post_init__(self) -> None:
        if self.image_tower not in ("lite0", "lite1", "lite2"):
            raise ValueError("image_tower must be lite0, lite1 or lite2")
        if self.resize_mode not in ("shortest", "longest", "squash"):
            raise ValueError("resize_mode must be shortest, longest or squash")
        if not 32 <= self.image_size <= 1024 or self.image_size % 32:
            raise ValueError("image_size must be a multiple of 32 from 32 to 1024")
        if not 8 <= self.context_length <= 512:
            raise ValueError("context_length must be from 8 to 512")


@config
class FclipTinyStart:
    """The small CLIP that this package carries (`fclip.models.tiny`): `towers`, fine-tuned on a catalog of fashion."""

    kind: Literal["fclip-tiny"]


@config
class OpenClipStart:
    """A model that open_clip knows: a built-in name with the tag of its weights, or `hf-hub:organisation/name`."""

    kind: Literal["open_clip"]
    model: str
    pretrained: str | None = None

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model must name a model of open_clip, or `hf-hub:organisation/name`")
        if self.model.startswith(HUB_PREFIX) == (self.pretrained is not None):
            raise ValueError("pretrained must be given for a built-in model, and only for one")


@config
class TransformersStart:
    """A CLIP in transformers' form, as FashionCLIP is published (`fclip.models.from_transformers`).

    Attributes:
        model: a folder, which may be relative to the workspace, or else `organisation/name` on the hub.
        revision: of a model on the hub, a branch, tag or commit to stay at; null: the newest whenever it is pinned.
    """

    kind: Literal["transformers"]
    model: str
    revision: str | None = None

    def __post_init__(self) -> None:
        if not self.model or self.model.startswith(HUB_PREFIX):
            raise ValueError("model must be a folder, or `organisation/name` of a model on the hub")


@config
class LocalStart:
    """A folder in open_clip's local-directory form; `path` may be relative to the workspace."""

    kind: Literal["local"]
    path: str

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("path must name a folder")


ColdStart: TypeAlias = Annotated[
    FclipTinyStart | TowersStart | OpenClipStart | TransformersStart | LocalStart,
    ByKind(lambda: [start for start in START_KINDS.values() if start is not ChampionStart]),
]


@config
class ChampionStart:
    """A warm start: the workspace's champion, as it was when it was pinned; `otherwise` while there is none."""

    kind: Literal["champion"]
    otherwise: ColdStart


StartConfig: TypeAlias = Annotated[
    FclipTinyStart | TowersStart | OpenClipStart | TransformersStart | LocalStart | ChampionStart,
    ByKind(lambda: START_KINDS.values()),
]

START_KINDS: dict[str, type[Any]] = {
    "fclip-tiny": FclipTinyStart,
    "towers": TowersStart,
    "open_clip": OpenClipStart,
    "transformers": TransformersStart,
    "local": LocalStart,
    "champion": ChampionStart,
}


def start_from_json(values: dict[str, Any]) -> StartConfig:
    """The start whose `asdict` gave `values`; raises KeyError, TypeError or ValueError for anything else."""
    if values["kind"] == "champion":
        values = {**values, "otherwise": start_from_json(values["otherwise"])}
    start: StartConfig = START_KINDS[values["kind"]](**values)
    return start
