"""Training on the sample catalog reaches a given zero-shot accuracy on unseen products."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fclip.base_models.towers import TowersConfig, compose
from fclip.features.encode import encode_images, encode_texts
from fclip.files import read_json, sha256_bytes
from fclip.images.packs import StoredImage
from fclip.images.pixels import decode
from fclip.models.store import load
from fclip.sample.catalog import SampleProduct, draw_products
from fclip.training.job import run_job, write_job
from tests.fclip.training.training_jobs import PACKS, caption, make_config, write_products
from tests.packs import write_packs

SIDE = 64
NUM_TRAIN, NUM_VAL, NUM_TEST = 320, 48, 132


@pytest.fixture(scope="module")
def products() -> list[SampleProduct]:
    return list(draw_products("studio", num_products=NUM_TRAIN + NUM_VAL + NUM_TEST, seed=3, side=SIDE))


def accuracy(model: Path, products: list[SampleProduct]) -> float:
    """Return the zero-shot accuracy of article types, with one image per product and one template."""
    clip = load(model)
    names = sorted({product.attributes["article_type"] for product in products})
    images = encode_images(clip, np.stack([decode(product.images[0], clip.preprocess) for product in products]))
    texts = encode_texts(clip, [f"a photo of a {name}" for name in names])
    predicted = (images @ texts.T).argmax(1)
    return float(
        np.mean(
            [
                names[index] == product.attributes["article_type"]
                for index, product in zip(predicted, products, strict=True)
            ]
        )
    )


def test_training_the_projections_raises_zero_shot_accuracy(
    products: list[SampleProduct], tmp_path: Path, quick_towers: None
) -> None:
    rows, images = [], []
    for number, product in enumerate(products[: NUM_TRAIN + NUM_VAL]):
        content = product.images[0]
        image = StoredImage(sha256_bytes(content), content, *Image.open(io.BytesIO(content)).size)
        images.append(image)
        rows.append(
            {
                "dataset": "shop",
                "product_id": product.product_id,
                "split": "train" if number < NUM_TRAIN else "val",
                "images": [image.sha256],
                "captions": [caption("title", product.texts["title"])],
                "category": product.attributes["article_type"],
            }
        )
    write_packs(tmp_path / PACKS, images)
    base_model = tmp_path / "base-model"
    base_model.mkdir()
    compose(TowersConfig(kind="towers", image_size=SIDE, context_length=32), base_model)
    job = tmp_path / "job"
    config = make_config(
        trainable="heads", captions={"title": 1.0}, epochs=30, batch_size=64, learning_rate=1e-3, num_candidates=1
    )
    table = write_products(tmp_path, rows)
    write_job(job, config=config, seed=0, base_model=base_model, products=table, images={"shop": tmp_path / PACKS})
    out = run_job(job)

    unseen = products[NUM_TRAIN + NUM_VAL :]
    last = read_json(out / "candidates.json")[-1]["name"]
    before, after = (accuracy(out / "candidates" / name, unseen) for name in ("base-model", last))
    assert before < 0.3
    assert after > 0.5
