"""A new kind of base model needs one new file: in a copy of the project, it works from its declaration."""

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tasks.workspace.paths import Workspace
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from tests.extensions.conftest import Extended

NEW_FILE = "fclip/base_models/mine.py"
TEXT = '''
"""A base model of two thin towers with random weights."""

from typing import Literal

from fclip.config import config
from fclip.base_models.registry import BaseModel, Origin, WriteRequest


@config
class MineConfig:
    kind: Literal["mine"]
    seed: int = 0


def write(config: MineConfig, request: WriteRequest) -> Origin:
    import open_clip
    import torch

    from fclip.models import store
    from fclip.models.folder import write_config
    from fclip.models.preprocess import Preprocess

    model_cfg = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    torch.manual_seed(config.seed)
    write_config(model_cfg, Preprocess(32, (0.5,) * 3, (0.5,) * 3), request.out_dir)
    store.write_weights(open_clip.CLIP(**model_cfg), request.out_dir)
    return Origin({"seed": str(config.seed)})


MINE = BaseModel(
    kind="mine",
    label="mine",
    description="Two thin towers with random weights.",
    config=MineConfig,
    write=write,
    title_field="seed",
    name_form="mine:SEED",
    from_name=lambda name: MineConfig(kind="mine", seed=int(name[5:])) if name.startswith("mine:") else None,
)
'''

SESSION = """
import shutil, sys
from pathlib import Path

from fclip.errors import UserError
from fclip.training.config import FinetuneConfig, from_json, to_json
from tasks.workspace.params import load_section, parse
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_pin, write_pin
from tasks.resolve import resolve_base_model
from tasks.base_model import find_base_model, read_base_model_pin, base_model_folder

workspace = Workspace(Path.cwd())
config = load_section(workspace, "finetune", FinetuneConfig)
assert from_json(to_json(config)) == config
light = "torch" not in sys.modules
write_pin(workspace.base_model_pin, resolve_base_model(workspace, None, follow=False))
pin = read_base_model_pin(workspace)
folder = find_base_model(workspace)
shutil.rmtree(workspace.model_cache)
assert find_base_model(workspace) == folder

from fclip.base_models.registry import BaseModelConfig, base_model_from_name
from fclip.models.store import load
from tasks.model_evaluation import model_folder

try:
    parse("finetune.base_model", {"kind": "yours"}, BaseModelConfig)
except UserError as error:
    refusal = str(error)
found = {
    "light": light,
    "pin": pin.to_json(),
    "title": pin.title,
    "loaded": load(folder).model_sha256,
    "named": model_folder(workspace, "mine:3").name,
    "other": model_folder(workspace, "mine:4").name,
    "refusal": refusal,
}
"""


def prepare(folder: Path, shop: Workspace) -> None:
    folder.mkdir()
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["finetune"]["base_model"] = {"kind": "champion", "otherwise": {"kind": "mine", "seed": 3}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def test_new_base_model_needs_one_new_file(extended: "Extended") -> None:
    found = extended.found["base_model"]
    assert found["light"]
    pin = found["pin"]["otherwise"]
    assert (pin["kind"], pin["from"], pin["sources"]) == ("mine", {"seed": 3}, {"seed": "3"})
    assert found["title"] == "mine 3"
    assert found["loaded"] == found["named"] == pin["model_sha256"] != found["other"]
    assert "mine" in found["refusal"].split("must be one of ")[1]
