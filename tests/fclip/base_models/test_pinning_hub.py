"""Base models from the hub, with huggingface_hub and open_clip against a local server with the hub's API."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.tokenizer import HFTokenizer

from fclip.models import store
from fclip.models.folder import write_config
from fclip.models.preprocess import Preprocess
from tests.fake_hub import NOWHERE, FakeHub, ask, serve
from tests.fclip.conversion.peers import image_features, peer, save_peer, word_tokenizer

Session = Callable[..., list[Any]]
FASHION_CLIP = {"kind": "transformers", "model": "patrickjohncyh/fashion-clip"}
MARQO = {"kind": "open_clip", "model": "hf-hub:Marqo/marqo-fashionSigLIP"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    """A local hub for models in transformers' format (see `published`)."""
    with serve(FakeHub("patrickjohncyh/fashion-clip", "models")) as hub:
        yield hub


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """`session(endpoint, *steps, pin)` runs steps in a new process. A step is ("pin" or "fetch", config)."""

    def run(endpoint: str, *steps: tuple[str, dict[str, Any]], pin: dict[str, Any] | None = None) -> list[Any]:
        arguments = [str(tmp_path), json.dumps(pin or {}), json.dumps(steps)]
        return list(ask("tests.fclip.base_models.pinning_session", arguments, endpoint=endpoint, home=tmp_path / "hf"))

    return run


def published(tmp_path: Path, seed: int) -> dict[str, bytes]:
    """Return the files of a repository, some of which a base model does not need."""
    folder = save_peer(tmp_path / f"seed-{seed}", peer(seed=seed), None)
    return {**content(folder), "README.md": b"# A model", "pytorch_model.bin": b"not read", "onnx/model.onnx": b"no"}


def test_a_model_in_transformers_format_is_pinned_and_fetched_by_commit(
    hub: FakeHub, session: Session, tmp_path: Path
) -> None:
    first = hub.commit(published(tmp_path, 0))
    pin, kept = session(hub.endpoint, ("pin", FASHION_CLIP), ("fetch", FASHION_CLIP))
    assert pin["from"] == {"model": "patrickjohncyh/fashion-clip", "revision": None}
    assert pin["revision"] == first
    assert sorted(pin["sources"]) == ["config.json", "model.safetensors"]
    assert kept == pin["model_sha256"]
    assert hub.downloads == ["config.json", "model.safetensors"]
    clip = store.load(tmp_path / "cache" / kept)
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(clip.model.encode_image(pixels), image_features(peer(), pixels), atol=1e-5)

    hub.commit(published(tmp_path, 1))
    shutil.rmtree(tmp_path / "cache")
    again, fixed, newest = session(
        hub.endpoint, ("fetch", FASHION_CLIP), ("pin", {**FASHION_CLIP, "revision": first}), ("pin", FASHION_CLIP),
        pin=pin,
    )  # fmt: skip
    assert again == kept
    assert (fixed["revision"], fixed["model_sha256"]) == (first, kept)
    assert newest["revision"] == list(hub.commits)[-1]
    assert newest["model_sha256"] != kept
    shutil.rmtree(tmp_path / "cache")
    unknown = {**FASHION_CLIP, "model": "patrickjohncyh/another"}
    cached, offline = session(NOWHERE, ("fetch", FASHION_CLIP), ("pin", unknown), pin=pin)
    assert cached == kept  # from the hub's own cache
    assert "model patrickjohncyh/another: the hub cannot be reached" in offline["error"]
    assert "set `model` to a folder with a local copy of its files" in offline["error"]


def test_an_unavailable_model_is_a_user_error(hub: FakeHub, session: Session) -> None:
    hub.commit({"config.json": b'{"model_type": "siglip"}', "model.safetensors": b""})
    steps = [
        ("pin", {**FASHION_CLIP, "model": "nobody/nothing"}),
        ("pin", {**FASHION_CLIP, "revision": "0" * 40}),
        ("pin", {**FASHION_CLIP, "model": "no/such/folder"}),
        ("pin", FASHION_CLIP),
    ]
    unknown, absent, neither, other = (result["error"] for result in session(hub.endpoint, *steps))
    assert "model nobody/nothing: the hub does not show it" in unknown
    assert "the hub has no such commit" in absent
    assert "the base model no/such/folder is neither a folder in" in neither
    assert "its model_type is siglip, not clip" in other


def siglip_config(tokenizer_name: str) -> dict[str, Any]:
    """Return the config of Marqo/marqo-fashionSigLIP with much smaller towers."""
    return {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 12,
            "vocab_size": 32,
            "hf_tokenizer_name": tokenizer_name,
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": 64,
            "heads": 2,
            "layers": 2,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    }


def test_a_siglip_repository_as_marqos_can_be_pinned_and_keeps_its_logit_bias(tmp_path: Path, session: Session) -> None:
    """Config and weights are in one repository and the tokenizer in another, and the loss has a bias."""
    torch.manual_seed(0)
    model_cfg = siglip_config("timm/ViT-B-16-SigLIP")
    arguments = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    model = open_clip.CustomTextCLIP(**json.loads(json.dumps(arguments))).eval()
    with torch.no_grad():
        model.logit_bias.fill_(-12.5)
    (tmp_path / "model").mkdir()
    store.write_weights(model, tmp_path / "model")
    preprocess = Preprocess(160, (0.5,) * 3, (0.5,) * 3, "bicubic", "squash")
    write_config(model_cfg, preprocess, tmp_path / "model")
    word_tokenizer(12).save_pretrained(tmp_path / "tokenizer")
    marqo = FakeHub("Marqo/marqo-fashionSigLIP", "models")
    marqo.commit({**content(tmp_path / "model"), "model.safetensors": b"in transformers' format"})
    tokenizer = FakeHub("timm/ViT-B-16-SigLIP", "models")
    tokenizer.commit(content(tmp_path / "tokenizer"))
    with serve(marqo, tokenizer):
        pin, kept = session(marqo.endpoint, ("pin", MARQO), ("fetch", MARQO))
    assert kept == pin.get("model_sha256"), pin

    clip = store.load(tmp_path / "cache" / kept)
    assert clip.preprocess == preprocess
    assert isinstance(clip.tokenizer, HFTokenizer)
    assert clip.tokenizer(["A red, red coat!"])[0].tolist() == [1, 4, 8, 8, 12, 3, 0, 0, 0, 0, 0, 0]
    pixels, tokens = torch.rand(2, 3, 160, 160), clip.tokenizer(["a red dress", "a coat"])
    with torch.inference_mode():
        assert torch.equal(clip.model.encode_image(pixels), model.encode_image(pixels))
        assert torch.equal(clip.model.encode_text(tokens), model.encode_text(tokens))
        clip.model.logit_bias.add_(1)  # as training does
    (tmp_path / "tuned").mkdir()
    store.save(clip.model.state_dict(), config_from=clip.path, out_dir=tmp_path / "tuned")
    tuned = store.load(tmp_path / "tuned")
    assert tuned.model.logit_bias.item() == -11.5
    assert tuned.tokenizer(["a red coat"]).tolist() == clip.tokenizer(["a red coat"]).tolist()
