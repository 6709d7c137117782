"""WebDataset shards contain the training data of a workspace in the usual layout, with the same bytes each time."""

import io
import json
import random
import tarfile
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.paths import CACHE
from fclip.errors import UserError
from fclip.export.webdataset import SIZES, ExportSummary, export_shards
from fclip.files import read_json, sha256_bytes, sha256_tree
from fclip.images.packs import ImagePacks
from flows.cli.__main__ import app
from tasks import gather
from tasks.workspace.paths import Workspace
from tests.tiny_shop import make_shop

SHARD_BYTES = 30_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_shop(tmp_path_factory.mktemp("shop") / "shop")
    gather.main(workspace)
    workspace.dvc_yaml.touch()
    return workspace


def export(shop: Workspace, out_dir: Path, *, split: str = "train", max_bytes: int = SHARD_BYTES) -> ExportSummary:
    products = shop.training / "products.parquet"
    return export_shards(products, shop.images, out_dir, split=split, kind="title", max_bytes=max_bytes)


def read(folder: Path) -> dict[str, dict[str, bytes]]:
    """Return key -> suffix -> content of each sample, read with the standard library."""
    samples: dict[str, dict[str, bytes]] = defaultdict(dict)
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, suffix = member.name.split(".")
                file = tar.extractfile(member)
                assert file is not None
                samples[key][suffix] = file.read()
    return dict(samples)


def rows(shop: Workspace, split: str) -> list[dict]:
    table = pq.read_table(shop.training / "products.parquet")
    return [row for row in table.to_pylist() if row["split"] == split]


def test_each_image_of_the_split_is_a_sample(shop: Workspace, tmp_path: Path) -> None:
    done = export(shop, tmp_path / "out")
    samples = read(tmp_path / "out")
    expected = {(row["product_id"], image) for row in rows(shop, "train") for image in row["images"]}
    metadata = [json.loads(sample["json"]) for sample in samples.values()]
    assert {(each["product_id"], each["sha256"]) for each in metadata} == expected
    assert len(samples) == done.num_samples == len(expected)
    assert done.num_left_out == 0
    packs = ImagePacks([shop.images("studio")])
    captions = {row["product_id"]: row["captions"] for row in rows(shop, "train")}
    for (key, sample), each in zip(samples.items(), metadata, strict=True):
        assert sample.keys() == {"png", "txt", "json"}
        assert sample["png"] == packs.read(each["sha256"])
        assert (each["key"], each["dataset"]) == (key, "studio")
        assert sample["txt"].decode() == each["caption"]
        own = [(caption["kind"], caption["text"]) for caption in captions[each["product_id"]]]
        assert [(kind, text) for kind, texts in each["captions"].items() for text in texts] == sorted(own)
        assert each["caption"] == dict(own).get("title", dict(own)["short"])


def test_shards_are_limited_in_size_and_counted(shop: Workspace, tmp_path: Path) -> None:
    done = export(shop, tmp_path / "out")
    shards = sorted((tmp_path / "out").glob("*.tar"))
    assert len(shards) > 3
    assert [shard.name for shard in shards] == list(done.sizes) == [f"{n:05d}.tar" for n in range(len(shards))]
    assert read_json(tmp_path / "out" / SIZES) == done.sizes
    for shard in shards:
        with tarfile.open(shard) as tar:
            assert len(tar.getnames()) == 3 * done.sizes[shard.name]
            assert tar.offset <= SHARD_BYTES + 1024  # plus the two empty blocks at the end
    single = export(shop, tmp_path / "single", max_bytes=1)
    assert set(single.sizes.values()) == {1}


def test_samples_are_not_sorted_by_product(shop: Workspace, tmp_path: Path) -> None:
    export(shop, tmp_path / "out")
    ids = [json.loads(sample["json"])["product_id"] for sample in read(tmp_path / "out").values()]
    assert ids != sorted(ids)


def test_order_of_products_does_not_change_the_bytes(shop: Workspace, tmp_path: Path) -> None:
    export(shop, tmp_path / "one")
    table = pq.read_table(shop.training / "products.parquet")
    shuffled = tmp_path / "shuffled.parquet"
    order = list(range(table.num_rows))
    random.Random(0).shuffle(order)
    pq.write_table(table.take(order), shuffled)
    export_shards(shuffled, shop.images, tmp_path / "two", split="train", kind="title", max_bytes=SHARD_BYTES)
    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "two")


def test_products_without_a_caption_are_counted(shop: Workspace, tmp_path: Path) -> None:
    table = pq.read_table(shop.training / "products.parquet")
    values = table.to_pylist()
    named = [row for row in values if row["split"] == "train"]
    named[0]["captions"], named[1]["images"] = [], []
    pq.write_table(table.from_pylist(values, schema=table.schema), tmp_path / "products.parquet")
    done = export_shards(
        tmp_path / "products.parquet", shop.images, tmp_path / "out", split="train", kind="short", max_bytes=10**6
    )
    assert done.num_left_out == 2


def test_refused_export_writes_nothing(shop: Workspace, tmp_path: Path) -> None:
    products = shop.training / "products.parquet"
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "precious").touch()
    with pytest.raises(UserError, match="is not empty"):
        export(shop, taken)
    with pytest.raises(UserError, match="no product in the split `trian`; its splits are test, train, val"):
        export(shop, tmp_path / "out", split="trian")
    with pytest.raises(UserError, match="has a caption `titel`; the kinds are short, title"):
        export_shards(products, shop.images, tmp_path / "out", split="train", kind="titel", max_bytes=1)
    with pytest.raises(UserError, match="is in no pack"):
        export_shards(
            products, lambda name: shop.images("street"), tmp_path / "out", split="train", kind="title", max_bytes=1
        )
    with pytest.raises(UserError, match="does not exist; run `dvc pull`"):
        export_shards(tmp_path / "none", shop.images, tmp_path / "out", split="train", kind="title", max_bytes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert [path.name for path in taken.iterdir()] == ["precious"]


def test_export_command(shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.root)
    result = CliRunner().invoke(app, ["export", "webdataset", str(tmp_path / "out"), "--split", "val"])
    assert result.exit_code == 0, result.output
    samples = read(tmp_path / "out")
    assert f"{len(samples)} samples in 1 shards to {tmp_path / 'out'}" in result.output
    assert len(samples) == sum(len(row["images"]) for row in rows(shop, "val"))


def test_webdataset_package_reads_the_shards(shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CACHE / "open_clip_train"))  # where the training benchmark installs it
    wds = pytest.importorskip("webdataset")
    export(shop, tmp_path / "out")
    shards = sorted(str(shard) for shard in (tmp_path / "out").glob("*.tar"))
    actual = list(wds.WebDataset(shards, shardshuffle=False).decode("pilrgb").rename(image="jpg;png", text="txt"))
    expected = read(tmp_path / "out")
    assert [sample["__key__"] for sample in actual] == list(expected)
    for sample in actual:
        own = expected[sample["__key__"]]
        assert sample["image"].tobytes() == Image.open(io.BytesIO(own["png"])).convert("RGB").tobytes()
        assert sample["text"] == own["txt"].decode()
        assert sample["json"]["sha256"] == sha256_bytes(own["png"])
