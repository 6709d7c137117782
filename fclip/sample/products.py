"""The article types, colours, patterns, variants and brands of the sample shop, and random products made from them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from fclip.scenes.backgrounds import RGB


@dataclass(frozen=True)
class ArticleType:
    """The variants within an article type. Repeated choices are more likely."""

    sleeves: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ("regular",)
    genders: tuple[str, ...] = ("women", "men", "unisex", "kids")
    patterns: tuple[str, ...] = ("plain", "plain", "striped", "checked")
    seasons: tuple[str, ...] = ("all-season",)
    materials: tuple[str, ...] = ("cotton",)
    synonyms: tuple[str, ...] = ()
    weight: float = 1.0


ADULTS = ("women", "men", "unisex")
SUMMER, WINTER = ("summer", "summer", "spring"), ("winter", "winter", "autumn")
COLD, MILD = ("autumn", "winter", "all-season"), ("spring", "autumn", "all-season")
PRINTS = ("plain", "plain", "striped", "graphic", "graphic", "colour-block", "polka dot", "floral", "camouflage")
SOFT = ("plain", "floral", "floral", "polka dot", "striped", "checked")

ARTICLE_TYPES: dict[str, ArticleType] = {
    "t-shirt": ArticleType(
        ("short", "short", "short", "long"),
        ("regular", "cropped"),
        patterns=PRINTS,
        seasons=SUMMER,
        synonyms=("tee", "T-shirt"),
        weight=1.3,
    ),
    "tank top": ArticleType(
        ("sleeveless",), ("regular", "cropped"), patterns=PRINTS, seasons=("summer",), synonyms=("vest top", "singlet")
    ),
    "shirt": ArticleType(
        ("long", "long", "short"),
        ("regular", "long"),
        (*ADULTS, "men", "men"),
        ("plain", "plain", "checked", "checked", "striped", "floral", "polka dot"),
        MILD,
        ("poplin", "linen", "flannel"),
        ("button-down",),
        1.2,
    ),
    "blouse": ArticleType(
        ("long", "three-quarter", "short", "sleeveless"),
        genders=("women",),
        patterns=SOFT,
        seasons=("spring", "summer"),
        materials=("viscose", "chiffon", "silk"),
        synonyms=("top",),
    ),
    "sweater": ArticleType(
        ("long",),
        genders=("women", "men", "unisex", "kids"),
        patterns=("plain", "plain", "striped", "colour-block", "checked", "graphic"),
        seasons=WINTER,
        materials=("knit", "wool", "cashmere"),
        synonyms=("jumper", "pullover"),
        weight=1.1,
    ),
    "hoodie": ArticleType(
        ("long",),
        patterns=("plain", "plain", "graphic", "graphic", "colour-block", "camouflage", "striped"),
        seasons=COLD,
        materials=("fleece", "jersey"),
        synonyms=("hooded sweatshirt",),
    ),
    "jacket": ArticleType(
        ("long",),
        ("regular", "cropped"),
        patterns=("plain", "plain", "plain", "checked", "camouflage", "colour-block"),
        seasons=MILD,
        materials=("denim", "leather", "nylon"),
        synonyms=("bomber",),
        weight=1.1,
    ),
    "coat": ArticleType(
        ("long",),
        ("regular", "long"),
        ADULTS,
        ("plain", "plain", "plain", "checked"),
        WINTER,
        ("wool", "cashmere"),
        ("overcoat", "parka"),
    ),
    "dress": ArticleType(
        ("sleeveless", "sleeveless", "short", "long"),
        ("mini", "knee", "midi", "maxi"),
        ("women", "women", "kids"),
        SOFT,
        SUMMER,
        ("viscose", "cotton", "satin"),
        ("gown",),
        1.3,
    ),
    "skirt": ArticleType(
        (),
        ("mini", "knee", "midi", "maxi"),
        ("women", "women", "kids"),
        SOFT,
        ("spring", "summer"),
        ("cotton", "satin", "denim"),
        (),
    ),
    "jeans": ArticleType(
        (),
        ("regular", "regular", "cropped"),
        patterns=("plain",),
        materials=("denim",),
        synonyms=("denim pants",),
        weight=1.1,
    ),
    "trousers": ArticleType(
        (),
        ("regular", "regular", "cropped"),
        patterns=("plain", "plain", "plain", "striped", "checked", "camouflage"),
        seasons=MILD,
        materials=("cotton", "linen", "wool"),
        synonyms=("pants", "chinos"),
    ),
    "shorts": ArticleType(
        (),
        ("regular", "short", "long"),
        patterns=("plain", "plain", "striped", "checked", "floral", "camouflage"),
        seasons=("summer",),
        materials=("cotton", "linen", "denim"),
    ),
    "sneakers": ArticleType(
        (),
        patterns=("plain", "plain", "plain", "colour-block", "camouflage", "checked"),
        materials=("canvas", "leather", "mesh"),
        synonyms=("trainers", "running shoes"),
        weight=1.2,
    ),
    "boots": ArticleType(
        (),
        ("ankle", "ankle", "mid", "knee"),
        patterns=("plain",),
        seasons=WINTER,
        materials=("leather", "suede"),
        synonyms=("bootees",),
    ),
    "socks": ArticleType(
        (),
        ("crew", "crew", "ankle"),
        patterns=("plain", "striped", "striped", "polka dot", "checked", "colour-block"),
        materials=("cotton", "wool"),
        synonyms=("pair of socks",),
        weight=0.8,
    ),
    "cap": ArticleType(
        (),
        patterns=("plain", "plain", "graphic", "camouflage", "colour-block", "checked"),
        seasons=SUMMER,
        materials=("cotton", "canvas"),
        synonyms=("baseball cap",),
        weight=0.8,
    ),
    "hat": ArticleType(
        (),
        genders=ADULTS,
        patterns=("plain", "plain", "checked", "striped", "floral"),
        seasons=SUMMER,
        materials=("straw", "felt", "canvas"),
        synonyms=("sun hat",),
        weight=0.8,
    ),
    "handbag": ArticleType(
        (),
        genders=("women", "women", "unisex"),
        patterns=("plain", "plain", "plain", "checked", "floral", "striped", "colour-block"),
        materials=("leather", "canvas", "suede"),
        synonyms=("bag", "shoulder bag"),
        weight=1.1,
    ),
    "scarf": ArticleType(
        (),
        genders=ADULTS,
        patterns=("plain", "striped", "checked", "checked", "polka dot", "floral"),
        seasons=("winter", "autumn"),
        materials=("wool", "silk", "cashmere"),
        synonyms=("shawl",),
        weight=0.8,
    ),
}

SHADES: dict[str, dict[str, RGB]] = {
    "black": {"black": (32, 32, 35), "jet black": (22, 22, 24), "off-black": (46, 44, 46)},
    "white": {"white": (242, 242, 240), "off-white": (236, 232, 222), "snow white": (248, 249, 251)},
    "grey": {"grey": (140, 142, 146), "charcoal": (78, 80, 85), "light grey": (190, 192, 196)},
    "navy": {"navy": (32, 42, 82), "midnight blue": (26, 32, 62), "dark navy": (38, 48, 72)},
    "blue": {
        "blue": (52, 98, 178),
        "sky blue": (128, 178, 224),
        "royal blue": (42, 68, 190),
        "denim blue": (82, 114, 158),
    },
    "green": {"green": (52, 132, 78), "olive": (108, 112, 62), "mint": (158, 212, 182), "forest green": (34, 82, 54)},
    "red": {"red": (198, 38, 42), "burgundy": (118, 28, 46), "scarlet": (222, 52, 38)},
    "pink": {"pink": (236, 152, 178), "fuchsia": (214, 52, 128), "blush": (238, 198, 196)},
    "yellow": {"yellow": (240, 208, 62), "mustard": (204, 158, 46), "lemon": (246, 230, 112)},
    "orange": {"orange": (236, 128, 42), "rust": (178, 84, 42), "coral": (244, 132, 102)},
    "purple": {"purple": (112, 62, 148), "lavender": (184, 166, 218), "plum": (92, 42, 88)},
    "brown": {"brown": (110, 74, 50), "chocolate": (78, 50, 38), "tan": (172, 126, 84)},
    "beige": {"beige": (216, 198, 168), "sand": (226, 208, 172), "camel": (194, 156, 108)},
    "teal": {"teal": (28, 128, 132), "turquoise": (64, 190, 190), "petrol": (22, 84, 98)},
}
DENIM = ("blue", "blue", "blue", "navy", "black", "grey", "white")
LEATHERS = ("black", "brown", "brown", "beige", "red", "navy", "grey", "white", "green")
BRANDS = (
    "Nordvik",
    "Alma & Oak",
    "Brightwater",
    "Casa Luma",
    "Fjordline",
    "Kestrel",
    "Marlowe Street",
    "Ostra",
    "Pinecrest",
    "Solano",
    "Tidewell",
    "Velorra",
)
UNTYPICAL = 0.12  # probability of any colour instead of one that is usual for the material


@dataclass(frozen=True)
class Product:
    """One product of the sample shop. `shape_seed` determines its cut, which is the same in all images."""

    product_id: str
    attributes: dict[str, str]
    shade: str
    rgb: RGB
    accent: RGB
    material: str
    shape_seed: int


def make_product(domain: str, index: int, seed: int) -> Product:
    """Return product number `index` of a domain. It depends only on the three arguments."""
    rng = random.Random(f"product/{domain}/{seed}/{index}")
    name = rng.choices(list(ARTICLE_TYPES), weights=[kind.weight for kind in ARTICLE_TYPES.values()])[0]
    kind = ARTICLE_TYPES[name]
    material = rng.choice(kind.materials)
    usual = {"denim": DENIM, "leather": LEATHERS, "suede": LEATHERS}.get(material, tuple(SHADES))
    colour = rng.choice(tuple(SHADES) if rng.random() < UNTYPICAL else usual)
    shade = rng.choice(tuple(SHADES[colour]))
    accent_colour = rng.choice([other for other in SHADES if other != colour])
    attributes = {
        "article_type": name,
        "colour": colour,
        "pattern": rng.choice(kind.patterns),
        "sleeve": rng.choice(kind.sleeves) if kind.sleeves else "",
        "length": rng.choice(kind.lengths),
        "gender": rng.choice(kind.genders),
        "season": rng.choice(kind.seasons),
        "brand": rng.choice(BRANDS),
    }
    return Product(
        product_id=f"{domain}-{index:06d}",
        attributes={key: value for key, value in attributes.items() if value},
        shade=shade,
        rgb=SHADES[colour][shade],
        accent=SHADES[accent_colour][rng.choice(tuple(SHADES[accent_colour]))],
        material=material,
        shape_seed=rng.randrange(2**31),
    )
