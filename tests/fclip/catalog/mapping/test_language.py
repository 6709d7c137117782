"""The language of titles: short English ones are not reported, others are."""

import random
from itertools import product

import pyarrow.parquet as pq
import pytest

from fclip.catalog.mapping.language import foreign_language
from tests.conftest import dataset

TITLES = {
    "de": [
        *product(
            ["Damen", "Herren", "Nike Herren"],
            ["Kleid", "Strickjacke", "Laufschuhe", "Lederhandtasche", "Armbanduhr"],
            ["rot", "dunkelblau", "aus Baumwolle", "schwarz"],
        )
    ],
    "fr": [
        *product(
            ["Robe", "Chemise", "Pantalon", "Sac à main", "T-shirt Adidas"],
            ["femme", "homme", "pour enfant"],
            ["rouge", "bleu marine", "en coton", "noir"],
        )
    ],
    "es": [
        *product(
            ["Vestido", "Camisa", "Pantalón", "Zapatillas", "Camiseta Puma"],
            ["mujer", "de hombre", "para niños"],
            ["rojo", "azul marino", "de algodón", "negro"],
        )
    ],
    "it": [
        *product(
            ["Vestito", "Camicia", "Pantaloni", "Scarpe", "Maglietta Nike"],
            ["donna", "da uomo", "per bambini"],
            ["rosso", "blu", "in cotone", "nero"],
        )
    ],
}
ENGLISH = (
    *("Dress", "Red dress", "Blue jeans", "Leather bag", "Black T-shirt", "Running shoes", "Silk scarf", "Wool coat"),
    *("Denim jacket", "Nike Air Max", "Levi's 501", "Maxi dress", "Polo shirt", "Cardigan", "Tote bag", "Parka"),
)
BRANDS = (
    *("Nike Air Max 90", "Adidas Ultraboost", "Casio G-Shock GA-100", "Fossil FS4735", "Ray-Ban Aviator"),
    *("Titan Raga", "Puma Suede", "Tommy Hilfiger Polo", "Gucci Bamboo", "Armani Exchange", "Zara", "Prada"),
)


@pytest.mark.parametrize("code", TITLES)
def test_titles_of_another_language_are_reported(code: str) -> None:
    found = foreign_language([" ".join(words) for words in TITLES[code]])
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize("titles", [ENGLISH, BRANDS, ["SKU1234", "A-100", "X99-1"] * 5])
def test_short_english_titles_brands_and_codes_are_not(titles: list[str]) -> None:
    assert foreign_language(titles) is None


def test_few_texts_say_nothing() -> None:
    assert foreign_language(["Rotes Kleid für Damen aus Baumwolle"] * 9) is None


def test_markup_is_not_read() -> None:
    assert foreign_language(['<span class="german-text">Red dress made of cotton</span>'] * 20) is None


def test_english_titles_of_a_real_catalog_are_not_reported() -> None:
    """Samples of 20 of the 40,000 titles, which are mostly brands, colours and kinds of garment."""
    files = sorted(dataset("kagl").glob("*.parquet"))
    titles = [text for file in files for text in pq.read_table(file, columns=["text"])["text"].to_pylist() if text]
    draw = random.Random(0)
    assert all(foreign_language(draw.sample(titles, 20)) is None for _ in range(20))
