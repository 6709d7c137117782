"""Background replacement changes only the background of products on white."""

from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

from fclip.training.augment import augment, sample_augmentation
from fclip.training.backgrounds import background_mask, connected_to_border, sample_backgrounds
from fclip.training.config import AugmentConfig
from tests.conftest import dataset

SIDE = 110
BODY = [(35, 30), (45, 22), (65, 22), (75, 30), (88, 48), (78, 56)]
BODY += [(72, 48), (72, 92), (38, 92), (38, 48), (32, 56), (22, 48)]
GREY, WHITE, RED = (150, 150, 150), (252, 252, 252), (190, 40, 40)


def garment(fill: tuple[int, int, int], outline: tuple[int, int, int], *, background: int = 255) -> torch.Tensor:
    """Draw a shirt on a plain background: float32 [3, SIDE, SIDE]."""
    image = Image.new("RGB", (SIDE, SIDE), (background,) * 3)
    ImageDraw.Draw(image).polygon(BODY, fill=fill, outline=outline, width=2)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


def shape() -> np.ndarray:
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).polygon(BODY, fill=1)
    return np.array(image)


def product_area() -> torch.Tensor:
    """Return the pixels of the shirt without its edge."""
    return torch.from_numpy(ndimage.binary_erosion(shape(), iterations=4))


def background_area() -> torch.Tensor:
    """Return the pixels of the background without the shirt's edge."""
    return torch.from_numpy(~ndimage.binary_dilation(shape(), iterations=4))


def mask_of(*images: torch.Tensor) -> torch.Tensor:
    return background_mask(torch.stack(images))[0][:, 0]


@pytest.mark.parametrize("background", [255, 244])
@pytest.mark.parametrize("fill", [RED, WHITE, (255, 255, 255), (20, 20, 20)])
def test_mask_covers_the_background_only(fill: tuple[int, int, int], background: int) -> None:
    (mask,) = mask_of(garment(fill, GREY, background=background))
    assert mask.shape == (SIDE, SIDE)
    assert mask[product_area()].max() <= 0.25, "at most the soft edge"
    assert mask[product_area()].mean() < 0.005
    assert (mask[background_area()] > 0.99).all()
    assert ((mask >= 0) & (mask <= 1)).all()


def test_a_gap_in_the_outline_of_a_white_garment_is_not_passed() -> None:
    image = garment((255, 255, 255), GREY)
    image[:, 70:73, 30:45] = 255  # a gap in the left side
    (mask,) = mask_of(image)
    assert mask[product_area()].mean() < 0.03


def test_white_areas_enclosed_by_the_product_are_kept() -> None:
    image = garment(RED, GREY)
    image[:, 55:75, 45:65] = 255
    (mask,) = mask_of(image)
    assert (mask[57:73, 47:63] == 0).all()


def test_jpeg_artefacts_near_edges_are_background() -> None:
    rng = np.random.default_rng(0)
    image = garment(RED, RED).permute(1, 2, 0).numpy()
    image[(image > 250).all(2)] -= rng.integers(0, 3, ((image > 250).all(2).sum(), 3))
    buffer = BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(buffer, "JPEG", quality=80)
    (mask,) = mask_of(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).float())
    assert mask[background_area()].mean() > 0.98
    assert mask[product_area()].mean() < 0.01


def test_images_without_a_product_on_white_have_no_background() -> None:
    photo = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 255
    on_grey, all_white = garment(RED, GREY, background=225), torch.full((3, SIDE, SIDE), 255.0)
    hardly_any = photo.clone()
    hardly_any[:, [0, -1]] = hardly_any[:, :, [0, -1]] = 255.0
    speck = all_white.clone()
    speck[:, 50:60, 50:60] = 0
    assert not mask_of(photo, on_grey, all_white, hardly_any, speck).any()


@pytest.mark.parametrize("side", [9, 30, 57, 110, 131, 258])
def test_masks_have_the_size_of_the_image(side: int) -> None:
    batch = torch.full((2, 3, side, side + 3), 255.0)
    batch[:, :, side // 3 : -side // 3, side // 4 : -side // 4] = 30.0
    mask, _ = background_mask(batch)
    assert mask.shape == (2, 1, side, side + 3)
    assert mask[:, :, 0].min() > 0.9
    assert mask[:, :, side // 2, side // 2].max() == 0


@pytest.mark.parametrize("density", [0.3, 0.5, 0.65, 0.9])
def test_connected_to_border_equals_scipy_labelling(density: float) -> None:
    white = torch.rand(20, 23, 31, generator=torch.Generator().manual_seed(1)) < density
    found = connected_to_border(white)
    for one, mask in zip(white.numpy(), found.numpy(), strict=True):
        labels, _ = ndimage.label(one)
        ring = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        assert (mask == (np.isin(labels, ring[ring > 0]))).all()


def test_backgrounds_have_four_kinds_and_valid_grey_levels() -> None:
    backgrounds = sample_backgrounds(0.3, 2000, torch.Generator().manual_seed(0))
    assert backgrounds.fields.min() >= 0
    assert backgrounds.fields.max() <= 255
    assert 500 < int(backgrounds.chosen.sum()) < 700
    assert 420 < int(backgrounds.textured.sum()) < 580
    flat = (backgrounds.fields.amax((2, 3)) - backgrounds.fields.amin((2, 3))).amax(1) == 0
    assert 420 < int((flat & ~backgrounds.textured).sum()) < 580
    assert (backgrounds.fields.mean((1, 2, 3)).std() > 40).item(), "both dark and light backgrounds"


def config(background: float) -> AugmentConfig:
    return AugmentConfig(
        min_crop_area=1.0,
        flip=False,
        colour_jitter=0.0,
        greyscale=0.0,
        background=background,
        thumbnail=0.0,
        invert=0.0,
    )


def test_backgrounds_are_replaced_for_the_configured_share() -> None:
    batch = garment(RED, GREY).permute(1, 2, 0).to(torch.uint8).expand(200, SIDE, SIDE, 3).contiguous()
    augmented = augment(batch, sample_augmentation(config(0.4), 200, torch.Generator().manual_seed(0)), size=SIDE)
    changed = (augmented != batch).any(3).any(2).any(1)
    assert 60 < int(changed.sum()) < 100
    assert (augmented[:, product_area()] == batch[:, product_area()]).all()
    backgrounds = augmented[changed][:, background_area()].float()
    assert (backgrounds.mean(1) < 250).any(1).float().mean() > 0.9
    assert len({tuple(one) for one in backgrounds[:, 0].int().tolist()}) > 50


def test_real_products_keep_their_centre_and_lose_their_corners() -> None:
    path = dataset("kagl") / "data-00000-of-00002.parquet"
    contents = pq.read_table(path, columns=["image"])["image"].slice(500, 200).to_pylist()
    decoded = [Image.open(BytesIO(one["bytes"])).convert("RGB") for one in contents]
    images = [image.resize((96, 128)).crop((0, 16, 96, 112)) for image in decoded]
    batch = torch.from_numpy(np.stack([np.array(image) for image in images]))
    mask = background_mask(batch.permute(0, 3, 1, 2).float())[0][:, 0]
    on_white = mask.any(2).any(1)
    assert on_white.float().mean() > 0.7, "most products of this catalog are on white"
    assert mask[on_white][:, 42:54, 42:54].mean() < 0.1
    assert mask[on_white][:, :4, :4].mean() > 0.9
    augmented = augment(batch, sample_augmentation(config(1.0), 200, torch.Generator().manual_seed(0)), size=96)
    changed = (augmented != batch).any(3).any(2).any(1)
    assert torch.equal(changed, on_white)
