"""No picture of one dataset trains, selects or reports where it does otherwise in another."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fclip.catalog.roles import Pictures, require_apart
from fclip.errors import UserError
from fclip.files import sha256_tree
from tasks import gather
from tests.tiny_shop import make_shop


def test_pictures_of_one_role_may_be_shared_and_of_two_not() -> None:
    shop = Pictures("shop", "train", "train", ["a", "b", "b", "c"])
    require_apart([shop, Pictures("other", "train", "train", ["a", "b"]), Pictures("home", "test", "report", ["d"])])
    require_apart([shop, Pictures("shop", "val", "select", ["a"])])  # groups see to it within a dataset
    with pytest.raises(
        UserError, match=r"2 pictures are in shop/train \(role: train\) and in home/test \(role: report\), b"
    ):
        require_apart([shop, Pictures("home", "val", "select", ["c"]), Pictures("home", "test", "report", ["b", "c"])])


def test_gathering_refuses_before_anything_is_trained(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    gather.main(shop)
    before = sha256_tree(shop.training)
    studio, street = (shop.catalog(name) / "products.parquet" for name in ("studio", "street"))
    trained = next(row["images"] for row in pq.read_table(studio).to_pylist() if row["split"] == "train")
    table = pq.read_table(street)
    rows = table.to_pylist()
    next(row for row in rows if row["split"] == "test")["images"] = trained
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), street)
    said = (
        r"pictures are in street/test \(role: report\) and in studio/train \(role: train\).*give both splits one role"
    )
    with pytest.raises(UserError, match=said):
        gather.main(shop)
    assert sha256_tree(shop.training) == before
