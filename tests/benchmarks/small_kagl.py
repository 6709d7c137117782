"""kagl as the hub ships it, of a few hundred products that are drawn here."""

import hashlib
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NUM = 400


def picture(seed: int, side: int = 24) -> bytes:
    """A JPEG of sixteen mottles."""
    buffer = io.BytesIO()
    noise = hashlib.shake_128(str(seed).encode()).digest(3 * 16)
    Image.frombytes("RGB", (4, 4), noise).resize((side, side)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_kagl(datasets: Path) -> Path:
    """Write the folder `kagl` of `NUM` products into `datasets`, some images larger than the stored side."""
    folder = datasets / "kagl"
    folder.mkdir()
    ids = [f"id {number}" for number in range(NUM)]
    images = [{"bytes": picture(number, 240 if number % 50 == 0 else 24), "path": None} for number in range(NUM)]
    columns = {name: ["a"] * NUM for name in ("gender", "category1", "category2", "category3", "baseColour")}
    table = {"image": images, **columns, "season": columns["gender"], "usage": columns["gender"], "year": [2012] * NUM}
    table |= {"text": [f"shirt {number}" for number in range(NUM)], "item_ID": ids}
    pq.write_table(pa.table(table), folder / "data.parquet")
    return datasets
