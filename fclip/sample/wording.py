"""The texts of a product: title, highlights and description, with the gaps and variants of real shop texts."""

from __future__ import annotations

import random

from fclip.sample.products import ARTICLE_TYPES, Product

GENDERS = {
    "women": ("Women", "Women's", "Ladies"),
    "men": ("Men", "Men's"),
    "unisex": ("Unisex", ""),
    "kids": ("Kids", "Children's"),
}
PATTERNS = {
    "plain": ("", "", "Plain", "Solid"),
    "striped": ("Striped", "Stripe"),
    "checked": ("Checked", "Check", "Plaid"),
    "polka dot": ("Polka Dot", "Dotted"),
    "floral": ("Floral", "Flower Print"),
    "graphic": ("Graphic", "Printed"),
    "colour-block": ("Colour-Block", "Two-Tone"),
    "camouflage": ("Camouflage", "Camo"),
}
SLEEVES = {"sleeveless": "Sleeveless", "short": "Short Sleeve", "three-quarter": "3/4 Sleeve", "long": "Long Sleeve"}
LENGTHS = {
    "cropped": "Cropped",
    "mini": "Mini",
    "knee": "Knee-Length",
    "midi": "Midi",
    "maxi": "Maxi",
    "ankle": "Ankle",
    "mid": "Mid-Calf",
    "long": "Long",
    "short": "Short",
}
TITLES = (
    "{brand} {gender} {shade} {pattern} {length} {sleeve} {article}",
    "{brand} {gender} {shade} {pattern} {sleeve} {article}",
    "{gender} {shade} {pattern} {article} {sleeve} - {brand}",
    "{brand} {length} {pattern} {article} in {shade}",
    "{shade} {pattern} {length} {article}",
    "{brand} {material} {article} {gender} {shade} {pattern}",
)
HIGHLIGHTS = (
    "{article}",
    "{shade}",
    "{pattern} pattern",
    "{sleeve}",
    "{length} length",
    "{material}",
    "for {season}",
    "{gender}",
    "{brand}",
)
CARE = (
    "machine washable",
    "easy care",
    "regular fit",
    "relaxed fit",
    "new in",
    "made to last",
    "soft touch",
    "gift idea",
)
OPENINGS = (
    "A {mood} {shade} {article} by {brand}.",
    "This {pattern} {article} in {shade} comes from {brand}.",
    "{brand}'s {mood} {article}, made of {material}.",
    "The {mood} {shade} {article} you will wear all {season}.",
    "A {pattern} {article} for {gender} in {shade}.",
    "Our {mood} {synonym} in {shade} {material}.",
)
CLOSINGS = (
    "",
    "",
    "Made of {material} with {sleeve} details.",
    "Wear it with jeans or on its own.",
    "Cut to a {length} length.",
    "Ideal for {season}.",
    "Order your usual size.",
    "The {pattern} look goes with everything.",
    "Model is 178 cm tall and wears size M.",
    "Machine wash at 30 degrees.",
)
MOODS = ("classic", "comfortable", "timeless", "light", "modern", "favourite", "smart", "casual")
NO_BRAND, SYNONYM, PLAIN_COLOUR, LOWER_CASE = (
    0.15,
    0.12,
    0.35,
    0.08,
)  # probabilities per title: no brand, a synonym, the plain colour name, lower case


def _tidy(text: str) -> str:
    return " ".join(text.split()).strip(" -,")


def write_texts(product: Product, rng: random.Random) -> dict[str, str]:
    """Return `title`, `highlights` (comma separated) and `description`. The highlights always name type and colour."""
    attributes = product.attributes
    article = attributes["article_type"]
    synonyms = ARTICLE_TYPES[article].synonyms or (article,)
    sleeve, length = SLEEVES.get(attributes.get("sleeve", ""), ""), LENGTHS.get(attributes["length"], "")
    season = {"all-season": "seasons"}.get(attributes["season"], attributes["season"])
    words = {
        "brand": attributes["brand"],
        "gender": rng.choice(GENDERS[attributes["gender"]]),
        "shade": attributes["colour"] if rng.random() < PLAIN_COLOUR else product.shade,
        "pattern": rng.choice(PATTERNS[attributes["pattern"]]),
        "sleeve": sleeve,
        "length": length,
        "material": product.material,
        "article": article,
    }
    changes = {
        **({"brand": ""} if rng.random() < NO_BRAND else {}),
        **({"article": rng.choice(synonyms)} if rng.random() < SYNONYM else {}),
    }
    title = _tidy(
        rng.choice(TITLES).format(**{k: v if k == "brand" else v.title() for k, v in (words | changes).items()})
    )
    phrases = [
        article,
        attributes["colour"],
        *rng.sample(HIGHLIGHTS, rng.randint(2, 5)),
        *rng.sample(CARE, rng.randint(0, 2)),
    ]
    lowered = {k: v if k == "brand" else v.lower() for k, v in words.items()} | {
        "mood": rng.choice(MOODS),
        "season": season,
        "synonym": rng.choice(synonyms),
        "gender": attributes["gender"],
    }
    filled = [_tidy(phrase.format(**lowered)) for phrase in phrases if _complete(phrase, lowered)]
    sentences = [
        rng.choice([s for s in OPENINGS if _complete(s, lowered)]),
        rng.choice([s for s in CLOSINGS if _complete(s, lowered)]),
    ]
    return {
        "title": title.lower() if rng.random() < LOWER_CASE else title,
        "highlights": ", ".join(dict.fromkeys(filled)),
        "description": _tidy(" ".join(sentences).format(**lowered)),
    }


def _complete(template: str, words: dict[str, str]) -> bool:
    """Whether the product has every word that the template needs."""
    return all(words[name] for name in words if "{" + name + "}" in template)
