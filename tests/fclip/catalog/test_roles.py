"""No picture has different roles in two datasets."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fclip.catalog.roles import SplitPictures, require_one_role_per_picture
from fclip.errors import UserError
from fclip.files import sha256_tree
from tasks import gather
from tests.tiny_shop import make_shop


def test_pictures_may_be_shared_only_within_one_role() -> None:
    shop = SplitPictures("shop", "train", "train", ["a", "b", "b", "c"])
    require_one_role_per_picture(
        [shop, SplitPictures("other", "train", "train", ["a", "b"]), SplitPictures("home", "test", "report", ["d"])]
    )
    require_one_role_per_picture(
        [shop, SplitPictures("shop", "val", "select", ["a"])]
    )  # within a dataset, groups prevent this
    with pytest.raises(
        UserError,
        match=r"2 pictures are in both shop/train \(role: train\) and home/test \(role: report\), for example b",
    ):
        require_one_role_per_picture(
            [shop, SplitPictures("home", "val", "select", ["c"]), SplitPictures("home", "test", "report", ["b", "c"])]
        )


def test_gather_refuses_pictures_with_two_roles(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    gather.main(shop)
    before = sha256_tree(shop.training)
    studio, street = (shop.catalog(name) / "products.parquet" for name in ("studio", "street"))
    trained = next(row["images"] for row in pq.read_table(studio).to_pylist() if row["split"] == "train")
    table = pq.read_table(street)
    rows = table.to_pylist()
    next(row for row in rows if row["split"] == "test")["images"] = trained
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), street)
    message = (
        r"pictures are in both street/test \(role: report\) and studio/train \(role: train\).*give both splits the same"
    )
    with pytest.raises(UserError, match=message):
        gather.main(shop)
    assert sha256_tree(shop.training) == before
