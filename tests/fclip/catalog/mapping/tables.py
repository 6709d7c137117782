"""Tables of invented products in the forms that shops export, with images where these are files."""

import csv
from collections.abc import Sequence
from pathlib import Path

from tests.fclip.catalog.catalog_shop import jpeg

KINDS = ("Dress", "Shirt", "Bag", "Scarf")
COLOURS = ("Red", "Blue", "Black")
URL = "https://cdn.example.com/products"
SHOPIFY = (
    *("Handle", "Title", "Body (HTML)", "Vendor", "Product Category", "Type", "Tags", "Published", "Option1 Name"),
    *("Option1 Value", "Option2 Name", "Option2 Value", "Variant SKU", "Variant Grams", "Variant Price"),
    *("Variant Barcode", "Image Src", "Image Position", "Image Alt Text", "Gift Card", "SEO Title", "Variant Image"),
    *("Cost per item", "Status"),
)
MERCHANT = (
    *("id", "title", "description", "link", "image_link", "additional_image_link", "availability", "price", "brand"),
    *("color", "gender", "age_group", "item_group_id", "google_product_category", "product_type", "size", "condition"),
)


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    """Write a table with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def write_images(folder: Path, names: Sequence[str]) -> None:
    """Write a small image for each name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(jpeg(number))


def shopify_export(folder: Path, num_products: int = 40) -> Path:
    """Each product has a row with its texts, two more variants, and a row with an image alone."""
    rows = []
    for number in range(num_products):
        kind, colour = KINDS[number % 4], COLOURS[number % 3]
        handle = f"{colour.lower()}-{kind.lower()}-{number}"
        first = {
            "Title": f"{colour} {kind} no {number}",
            "Body (HTML)": f"<p>A {colour.lower()} {kind.lower()} for <b>summer</b>.</p>",
            "Vendor": "Acme" if number % 2 else "Umbra",
            "Product Category": f"Apparel & Accessories > Clothing > {kind}s",
            "Type": kind,
            "Option1 Name": "Color",
            "Option2 Name": "Size",
        }
        for position in range(4):
            variant = {
                "Option1 Value": colour,
                "Option2 Value": "SMLX"[position],
                "Variant SKU": f"{handle}-{position}",
            }
            row = {
                "Handle": handle,
                "Image Src": f"{URL}/{handle}-{position}.jpg?v=1" if position != 2 else "",
                "Image Position": position + 1,
                **(first if position == 0 else {}),
                **({**variant, "Variant Price": "39.95"} if position < 3 else {}),
            }
            rows.append([row.get(name, "") for name in SHOPIFY])
    return write_table(folder / "products_export.csv", SHOPIFY, rows)


def merchant_feed(folder: Path, num_products: int = 40) -> Path:
    """A tab-separated feed of variants, each with two further images."""
    rows = []
    for number in range(num_products):
        kind, colour = KINDS[number % 4], COLOURS[number % 3]
        row = {
            "id": f"sku-{number}",
            "title": f"{colour} {kind} no {number}",
            "description": f"A {colour.lower()} {kind.lower()} for summer days, made of cotton.",
            "link": f"https://shop.example.com/{number}",
            "image_link": f"{URL}/{number}.jpg",
            "additional_image_link": f"{URL}/{number}-b.jpg,{URL}/{number}-c.jpg" if number % 2 else "",
            "availability": "in_stock",
            "price": "39.95 EUR",
            "brand": "Acme" if number % 2 else "Umbra",
            "color": colour,
            "gender": "female",
            "age_group": "adult",
            "item_group_id": f"group-{number // 2}",
            "google_product_category": 2271,
            "product_type": kind,
            "size": "M",
            "condition": "new",
        }
        rows.append([row[name] for name in MERCHANT])
    return write_table(folder / "feed.tsv", MERCHANT, rows, delimiter="\t")


def kaggle_styles(folder: Path, num_products: int = 40) -> Path:
    """Kaggle's styles.csv beside the folder `images`, whose files are named by the id."""
    header = (
        *("id", "gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "year", "usage"),
        "productDisplayName",
    )
    rows = [
        [
            *(15970 + number, "Men", "Apparel", "Topwear", KINDS[number % 4], COLOURS[number % 3], "Fall", 2011),
            *("Casual", f"Acme Men {COLOURS[number % 3]} {KINDS[number % 4]} {number}"),
        ]
        for number in range(num_products)
    ]
    write_images(folder / "images", [f"{row[0]}.jpg" for row in rows])
    return write_table(folder / "styles.csv", header, rows)


def own_table(folder: Path, num_products: int = 40, images: str = "photos", delimiter: str = ";") -> Path:
    """A table with simple names, several image files in a cell, without their suffix."""
    rows = [
        [
            *(f"S{number}", f"{COLOURS[number % 3]} {KINDS[number % 4]} no {number}"),
            *(COLOURS[number % 3], KINDS[number % 4], f"{9.5 + number:.2f}"),
            f"{number}a|{number}b" if number % 2 else f"{number}a",
        ]
        for number in range(num_products)
    ]
    write_images(folder / images, [f"{number}{side}.png" for number in range(num_products) for side in "ab"])
    return write_table(folder / "products.csv", ["SKU", "Name", "Color", "Category", "Price", "Photo"], rows, delimiter)
