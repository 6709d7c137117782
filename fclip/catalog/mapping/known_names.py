"""Usual names of columns: Shopify's product export, Google Merchant's feed, Kaggle's styles.csv and common words."""

import re
import unicodedata
from collections.abc import Mapping

TEXTS = ("title", "description", "highlights")
"""Names of fclip that are texts; all others but those in `STRUCTURE` are attributes."""

STRUCTURE = ("product_id", "parent_id", "image")
"""Names of fclip that are neither texts nor attributes."""

ALIASES = {"id": "product_id", "color": "colour", "name": "title", "parent": "parent_id", "images": "image"}
"""Other spellings of fclip's names."""

KNOWN_NAMES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "product_id": (
        ("product id", "item id", "article id", "produkt id", "artikel id", "id produit", "id producto", "id prodotto"),
        ("id",),
        ("sku", "product sku", "item sku", "sku id"),
        (
            *("article number", "item number", "product number", "style number", "product code", "item code"),
            *("article code", "style id", "style code", "artikelnummer", "artikelnr", "référence", "referencia"),
        ),
        ("handle",),
        ("asin",),
        ("ean", "gtin", "upc", "barcode"),
    ),
    "parent_id": (
        ("item group id", "parent id", "parent sku", "parent product id", "product group id", "group id"),
        ("parent", "model id", "master id", "master sku"),
    ),
    "title": (
        (
            *("title", "product title", "item title", "name", "product name", "item name", "article name"),
            *("product display name", "display name", "prod name"),
            *("titel", "produkttitel", "produktname", "artikelname", "bezeichnung", "artikelbezeichnung"),
            *("titre", "nom", "nom du produit", "título", "nombre", "nombre del producto", "titolo", "nome"),
        ),
        ("short description", "kurzbeschreibung", "text", "caption"),
    ),
    "description": (
        (
            *("description", "product description", "item description", "long description", "detail desc"),
            *("body html", "body", "beschreibung", "produktbeschreibung", "descripción", "descrizione", "descrição"),
        ),
        ("details", "product details", "short description"),
    ),
    "category": (
        ("category", "category name", "kategorie", "catégorie", "categoría", "categoria"),
        ("article type", "product type", "product type name", "item type", "type", "produkttyp", "produktart"),
        ("sub category", "category 3", "product category", "product group name", "warengruppe"),
        ("category 2",),
        ("master category", "main category", "category 1", "google product category", "department"),
        ("garment group name", "index group name", "collection", "label", "class"),
    ),
    "colour": (
        ("colour", "color", "base colour", "base color", "colour name", "color name", "colour group name"),
        ("farbe", "couleur", "colore", "cor", "kleur"),
        ("main colour", "main color", "primary color", "primary colour", "hauptfarbe", "grundfarbe"),
    ),
    "brand": (("brand", "brand name", "marke", "marque", "marca", "merk"), ("vendor", "manufacturer", "hersteller")),
    "gender": (
        ("gender", "sex", "geschlecht", "genre", "género", "genere", "gênero", "geslacht"),
        ("target gender", "google shopping gender", "index name"),
    ),
    "price": (
        ("price", "preis", "prix", "precio", "prezzo", "preço", "prijs"),
        ("variant price", "list price", "regular price", "retail price", "current price", "unit price"),
    ),
    "image": (
        (
            *("image", "image file", "image filename", "image file name", "image name", "image path", "file name"),
            *("file", "filepath", "img", "img path", "img file", "photo", "photo file", "picture", "pic", "image 1"),
            *("bild", "bilddatei", "foto", "imagen", "immagine", "imagem", "afbeelding"),
        ),
        (
            *(
                "image link",
                "image url",
                "image src",
                "img url",
                "photo url",
                "picture url",
                "link image",
                "main image",
            ),
            *("main image url", "primary image", "primary image url", "image url 1", "image href", "bild url"),
        ),
        ("images", "image urls", "image links", "photos", "pictures", "image files", "bilder", "variant image"),
        ("image id", "photo id", "path", "thumbnail", "thumbnail url"),
    ),
}
"""For each of fclip's names, the usual column names in groups, the best group first. Names of one group are equal."""

MORE_IMAGES = (
    *("additional image link", "additional image links", "additional images", "additional image urls"),
    *("other images", "other image urls", "more images", "gallery", "gallery images", "image gallery"),
)
"""Usual names of columns that name further images of a product."""

_NUMBERED_IMAGE = re.compile(
    r"(?:additional)?(?:image|img|photo|picture|pic|bild|foto)(?:url|link|src|file|path)?0?(?:[2-9]|1\d)"
)
_SHOPIFY_METAFIELD = re.compile(r"\s*\(product\.metafields\.[^)]*\)\s*$")


def name_key(name: str) -> str:
    """The part that all spellings of a column's name share: letters and digits, without case, `g:` or accents."""
    name = _SHOPIFY_METAFIELD.sub("", name.strip())
    name = unicodedata.normalize("NFKD", name.removeprefix("g:")).casefold()
    return "".join(character for character in name if character.isalnum())


def names_more_images(column: str) -> bool:
    """Whether a column's name says that it names further images of a product."""
    key = name_key(column)
    return key in set(map(name_key, MORE_IMAGES)) or _NUMBERED_IMAGE.fullmatch(key) is not None
