"""The image preprocessing of a model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocess:
    """The image preprocessing of a model; fields as in open_clip's `PreprocessCfg`.

    Attributes:
        size: side of the square input in pixels.
        mean, std: per channel, for values in [0, 1].
        interpolation: "bicubic" or "bilinear".
        resize_mode: "shortest" (then a centre crop), "longest" (then padding with `fill_color`) or "squash".
        fill_color: grey level of the padding, 0 to 255.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0
