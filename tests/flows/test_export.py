"""`fclip export transformers`: the written model, and refused folders."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPModel
from typer.testing import CliRunner

from fclip.errors import UserError
from fclip.models import store
from flows.cli.__main__ import app
from tests.tiny_shop import tiny_clip


def test_export_transformers_writes_a_model_and_overwrites_no_folder(tmp_path: Path) -> None:
    folder = tiny_clip(tmp_path / "ours")
    command = ["export", "transformers", str(folder), str(tmp_path / "theirs")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "AutoModel.from_pretrained" in done.output
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        theirs = CLIPModel.from_pretrained(tmp_path / "theirs").eval().get_image_features(pixel_values=pixels)
        ours = store.load(folder).model.encode_image(pixels)
    assert torch.allclose(theirs.pooler_output, ours, atol=1e-5)
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, UserError)
    with pytest.raises(UserError, match="is not empty"):
        raise again.exception
