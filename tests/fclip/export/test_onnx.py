"""The ONNX export of every kind of text and image tower, run by the runtime and by onnxruntime alone."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fclip.errors import UserError
from fclip.export import onnx as export
from fclip.export.onnx import export_onnx
from fclip.features.encode import encode_texts
from fclip.files import read_json, write_json
from fclip.models.folder import WEIGHTS
from fclip.models.store import Clip
from fclip.models.store import load as load_torch
from fclip.models.weights import write_state
from fclip.runtime import load
from fclip.runtime.manifest import IMAGE_GRAPH, MANIFEST, TEXT_GRAPH
from tests.fclip.conversion.siglip_peers import save_siglip
from tests.fclip.export.few import few_inputs
from tests.fclip.export.test_model_exports import tiny_bert
from tests.tiny_shop import tiny_clip

KINDS = {"ViT and causal text": tiny_clip, "SigLIP": save_siglip, "timm and BERT": tiny_bert}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_model_is_exported(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One export, which takes seconds, is used for every check."""
    model, out = KINDS[kind](tmp_path / "model"), tmp_path / "out"
    export_onnx(model, out, few_inputs())
    check_graphs(model, out)
    check_padding_is_masked(model, out)
    check_damage(out, tmp_path)
    check_gate(model, out, tmp_path, monkeypatch)


def check_graphs(model: Path, out: Path) -> None:
    """The graphs are standard ONNX, with the weights beside them."""
    assert {path.name for path in out.iterdir()} == {IMAGE_GRAPH, TEXT_GRAPH, MANIFEST, "tokenizer.json", WEIGHTS}
    for name in (IMAGE_GRAPH, TEXT_GRAPH):
        onnx.checker.check_model(str(out / name))
        graph = onnx.load(str(out / name), load_external_data=False)
        assert graph.opset_import[0].version >= 17
        assert (out / name).stat().st_size < 0.3e6
        session = onnxruntime.InferenceSession(str(out / name), providers=["CPUExecutionProvider"])
        assert [output.name for output in session.get_outputs()] == ["embeddings", "features"]
        assert isinstance(session.get_inputs()[0].shape[0], str), "the batch is dynamic"
    assert read_json(out / MANIFEST)["model_sha256"] == load_torch(model).model_sha256


def check_padding_is_masked(model: Path, out: Path) -> None:
    """A short text has the same features alone and beside a long one."""
    runtime, texts = load(out), ["a red dress", "blue jeans with a very long description of pockets and seams"]
    together, alone = runtime.embed_texts(texts, output="features"), runtime.embed_texts(texts[:1], output="features")
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)
    np.testing.assert_allclose(together, encode_texts(load_torch(model), texts), atol=1e-4)


def check_damage(out: Path, work: Path) -> None:
    """A damaged export is one clear error."""
    for damage, message in (
        (TEXT_GRAPH, r"text\.onnx has the digest"),
        (WEIGHTS, "has the digest"),
        ("tokenizer.json", r"tokenizer\.json has the digest"),
    ):
        folder = work / damage
        folder.mkdir()
        for file in out.iterdir():
            content = file.read_bytes()
            (folder / file.name).write_bytes(content[: len(content) // 2] if file.name == damage else content)
        with pytest.raises(UserError, match=message):
            load(folder).embed_texts(["a"])
    write_json(folder / MANIFEST, {**read_json(out / MANIFEST), "format": 9})
    with pytest.raises(UserError, match="format 9 is not known"):
        load(folder)


def check_gate(model: Path, out: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export with other weights is not written."""
    graphs = {name: onnx.load(str(out / name), load_external_data=False) for name in (IMAGE_GRAPH, TEXT_GRAPH)}
    monkeypatch.setattr(export, "export_graphs", lambda clip: graphs)

    def write_wrong(clip: Clip, out_dir: Path) -> None:
        torch.manual_seed(1)
        state = {
            name: torch.randn_like(tensor) if tensor.ndim > 1 else tensor
            for name, tensor in clip.model.state_dict().items()
        }
        write_state(state, out_dir)

    monkeypatch.setattr(export, "write_weights", write_wrong)
    with pytest.raises(UserError, match="other embeddings than the pipeline"):
        export_onnx(model, work / "wrong", few_inputs())
    assert not (work / "wrong").exists()


def test_a_model_with_embeddings_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    model = tiny_clip(tmp_path / "model", broken=True)
    with pytest.raises(UserError, match="not finite"):
        export_onnx(model, tmp_path / "out", few_inputs())
    assert not (tmp_path / "out").exists()
