"""Few items to compare embeddings on, so that a test of an export is fast."""

from functools import cache

from fclip.export.parity import ParityInputs
from fclip.sample.catalog import draw_products


@cache
def few_inputs() -> ParityInputs:
    """Eight drawn products, with a text that is longer than every context."""
    products = list(draw_products("street", num_products=8, seed=1, side=96))
    texts = [product.texts["title"] for product in products]
    return ParityInputs(
        images=[product.images[0] for product in products],
        texts=[*texts, "", "Women's T-Shirt,  100% Cotton_Mix (M/L)\n- don't wash!", "blue " * 90],
        class_names=["dress", "sweater", "shoe"],
    )
