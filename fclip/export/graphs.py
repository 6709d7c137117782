"""ONNX graphs of both towers of a model, without weights.

A graph depends on the architecture alone: every tensor of the model's state is external data, and is found by its name
in the weights. torch's current exporter is used without its optimizer, which would compute new tensors from weights.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import onnx
import onnxscript
import torch
from torch import nn

from fclip.errors import UserError
from fclip.models.store import Clip, padding_id_if_masked
from fclip.runtime.manifest import IMAGE_GRAPH, TEXT_GRAPH
from fclip.runtime.safetensors import TensorEntry

OPSET = 18
OUTPUTS = ["embeddings", "features"]
EXAMPLE_ROWS, EXAMPLE_TOKENS = 2, 8
MAX_ROWS = 2**16


class _Encoder(nn.Module):
    """A tower whose parameters have the names that they have in the model's state."""

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.model: Any = clip.model

    def outputs(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return nn.functional.normalize(features, dim=-1), features


class _Images(_Encoder):
    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.outputs(self.model.encode_image(pixel_values))


class _Texts(_Encoder):
    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.outputs(self.model.encode_text(input_ids))


class _CausalTexts(_Encoder):
    """open_clip's causal text tower for any number of tokens: features are taken at the end token, so padding after it
    has no effect."""

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tower = getattr(self.model, "text", self.model)
        length = input_ids.shape[1]
        x = tower.token_embedding(input_ids) + tower.positional_embedding[:length]
        x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
        position = _end_position(tower, input_ids)
        pooled = x[torch.arange(x.shape[0], device=x.device), position]
        projection = tower.text_projection
        if projection is not None:
            pooled = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
        return self.outputs(pooled)


def _end_position(tower: Any, input_ids: torch.Tensor) -> torch.Tensor:
    if _pooling(tower) == "argmax":
        return input_ids.argmax(dim=-1)
    end = tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id
    return torch.eq(input_ids, end).int().argmax(dim=-1)


def _pooling(tower: Any) -> str:
    return str(getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", ""))


def takes_any_length(clip: Clip) -> bool:
    """Whether the text tower gives the same features for a text with less padding."""
    return padding_id_if_masked(clip.model) is not None or _is_causal(clip)


def _is_causal(clip: Clip) -> bool:
    tower: Any = getattr(clip.model, "text", clip.model)
    is_own = all(hasattr(tower, name) for name in ("token_embedding", "positional_embedding", "transformer"))
    return (
        is_own
        and getattr(tower, "attn_mask", None) is not None
        and getattr(tower, "cls_emb", None) is None
        and _pooling(tower) in ("argmax", "eos")
    )


def export_graphs(clip: Clip) -> dict[str, onnx.ModelProto]:
    """Return the graphs of a model on the CPU, by file name, without weights (`add_weights`).

    Raises:
        UserError: an operator of a tower cannot be exported; the message names the tower.
    """
    side = clip.preprocess.size
    pixels = torch.zeros(EXAMPLE_ROWS, 3, side, side)
    batch = torch.export.Dim("batch", min=1, max=MAX_ROWS)
    image = _export(_Images(clip), "image", "pixel_values", pixels, {0: batch})
    if _is_causal(clip):
        tower: nn.Module = _CausalTexts(clip)
    elif callable(getattr(clip.model, "encode_text", None)):
        tower = _Texts(clip)
    else:
        raise UserError(f"{clip.path} has no text tower; only models with an image and a text tower can be exported")
    tokens = clip.tokenizer(["a red dress", "blue jeans and a shirt"])
    dimensions = {0: batch}
    if takes_any_length(clip):
        tokens = tokens[:, :EXAMPLE_TOKENS]
        dimensions[1] = torch.export.Dim("length", min=1, max=clip.context_length)
    return {IMAGE_GRAPH: image, TEXT_GRAPH: _export(tower, "text", "input_ids", tokens, dimensions)}


def _export(
    tower: nn.Module, kind: str, name: str, example: torch.Tensor, dimensions: Mapping[int, Any]
) -> onnx.ModelProto:
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                tower.eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=(dict(dimensions),),
                input_names=[name],
                output_names=OUTPUTS,
                opset_version=OPSET,
                optimize=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises errors of many classes
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise UserError(f"the {kind} tower cannot be exported to ONNX: {reason}") from error
    assert program is not None
    return _without_weights(program.model_proto, {f"model.{key}": key for key in tower.model.state_dict()})  # type: ignore[union-attr]


def _without_weights(model: onnx.ModelProto, names: Mapping[str, str]) -> onnx.ModelProto:
    """Return the graph simplified, with each tensor of the model's state under its own name as empty external data.

    The state consists of inputs while the graph is simplified, so that no result depends on it.
    """
    state = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name in names}
    others = [tensor for tensor in model.graph.initializer if tensor.name not in names]
    inputs = list(model.graph.input)
    del model.graph.initializer[:]
    model.graph.initializer.extend(others)
    for tensor in state.values():
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    simplified = onnxscript.optimizer.optimize(model)
    graph = simplified.graph
    used = {name for node in graph.node for name in node.input}
    del graph.input[:]
    graph.input.extend(inputs)
    for name, tensor in state.items():
        if name in used:
            graph.initializer.add(
                name=names[name],
                data_type=tensor.data_type,
                dims=tensor.dims,
                data_location=onnx.TensorProto.EXTERNAL,
            )
    _remove_descriptions(simplified, names)
    return simplified


def _remove_descriptions(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Rename the state in all nodes, and remove what the exporter notes about its own run."""
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = names.get(name, name)
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for described in (*model.graph.input, *model.graph.output, *model.graph.initializer, model.graph, model):
        described.ClearField("metadata_props")
        described.ClearField("doc_string")
    model.graph.ClearField("value_info")
    model.graph.name = "tower"


def add_weights(graph: onnx.ModelProto, weights: str, entries: Mapping[str, TensorEntry]) -> onnx.ModelProto:
    """Return the graph with its tensors as external data in the safetensors file `weights`, which must be beside it.

    Args:
        entries: the tensors of the file (`fclip.runtime.safetensors.read_entries`), float32.
    """
    joined = onnx.ModelProto()
    joined.CopyFrom(graph)
    for tensor in joined.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entry = entries[tensor.name]
        assert tuple(tensor.dims) == entry.shape, tensor.name
        del tensor.external_data[:]
        for key, value in (("location", weights), ("offset", entry.offset), ("length", entry.num_bytes)):
            tensor.external_data.add(key=key, value=str(value))
    return joined


@contextmanager
def _quiet() -> Iterator[None]:
    """Context that suppresses the exporter's warnings and progress lines."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
