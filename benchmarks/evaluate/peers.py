"""The evaluation loops of clip-benchmark and marqo-FashionCLIP, rewritten from their published code.

They evaluate the same models, images and protocols as fclip.
clip-benchmark (zeroshot_classification, zeroshot_retrieval): each protocol encodes the images of its own loader.
marqo-FashionCLIP (utils/retrieval.py): documents are encoded once per dataset, then each query is compared with all.
Both read images with open_clip's own transform in a torch DataLoader. On the CPU there is no autocast.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from fclip.evaluation.protocols.attribute_search import AttributeSearch
from fclip.evaluation.protocols.retrieval import Retrieval
from fclip.evaluation.protocols.zero_shot import ZeroShot
from fclip.images.packs import ImagePacks
from fclip.models.store import Tokenizer, load

BATCH_SIZE = 128


@dataclass(frozen=True)
class PeerModel:
    """A model as clip-benchmark and marqo-FashionCLIP load it."""

    model: Any
    transform: Any
    tokenizer: Tokenizer


class PackImages(Dataset[torch.Tensor]):
    """Images of packs, selected by digest and transformed by open_clip's transform."""

    def __init__(self, packs: ImagePacks, digests: Sequence[str], transform: Any) -> None:
        self._packs, self._digests, self._transform = packs, digests, transform

    def __len__(self) -> int:
        return len(self._digests)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = Image.open(io.BytesIO(self._packs.read(self._digests[index])))
        pixels: torch.Tensor = self._transform(image)
        return pixels


def load_peer(folder: Path) -> PeerModel:
    """Load the model of a folder with open_clip's inference transform."""
    clip = load(folder)
    preprocess = clip.model.visual.preprocess_cfg  # type: ignore[union-attr]
    transform = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)  # type: ignore[arg-type]
    return PeerModel(clip.model, transform, clip.tokenizer)


@torch.no_grad()
def encode(peer: PeerModel, packs: ImagePacks, digests: Sequence[str], workers: int) -> torch.Tensor:
    """Return normalised image features, float32 [n, d]."""
    loader = DataLoader(PackImages(packs, digests, peer.transform), BATCH_SIZE, shuffle=False, num_workers=workers)
    return torch.cat([F.normalize(peer.model.encode_image(batch), dim=-1) for batch in loader])


@torch.no_grad()
def encode_texts(peer: PeerModel, texts: Sequence[str]) -> torch.Tensor:
    """Return normalised text features, float32 [n, d], encoded in batches."""
    batches = [list(texts[begin : begin + BATCH_SIZE]) for begin in range(0, len(texts), BATCH_SIZE)]
    return torch.cat([F.normalize(peer.model.encode_text(peer.tokenizer(batch)), dim=-1) for batch in batches])


def classification(peer: PeerModel, packs: ImagePacks, task: ZeroShot, workers: int) -> float:
    """Return clip-benchmark's zero-shot accuracy."""
    weights, begin = [], 0
    for count in task.num_prompts:  # one class at a time
        mean = encode_texts(peer, task.texts[begin : begin + count]).mean(dim=0)
        weights.append(mean / mean.norm())
        begin += count
    logits = 100.0 * encode(peer, packs, task.images, workers) @ torch.stack(weights, dim=1)
    return float((logits.argmax(dim=1) == torch.tensor(task.labels)).float().mean())


def retrieval(
    peer: PeerModel, packs: ImagePacks, task: Retrieval, workers: int, ks: Sequence[int] = (1, 5, 10)
) -> float:
    """Return clip-benchmark's image_retrieval_recall@10.

    Like clip-benchmark, compute the recalls of all `ks` in both directions, with one-hot matrices [batch, k, images].
    """
    images, texts = encode(peer, packs, task.images, workers), encode_texts(peer, task.texts)
    scores = texts @ images.T
    positive = torch.tensor(task.text_of)[None] == torch.arange(len(texts))[:, None]
    recalls = {}
    for k in ks:
        for name, matrix, pairs in (("image", scores, positive), ("text", scores.T, positive.T)):
            hits = []
            for begin in range(0, len(matrix), BATCH_SIZE):
                top = torch.topk(matrix[begin : begin + BATCH_SIZE], min(k, matrix.shape[1]), dim=1)[1]
                one_hot = F.one_hot(top, num_classes=matrix.shape[1])
                hits.append((one_hot * pairs[begin : begin + BATCH_SIZE][:, None]).sum(dim=(1, 2)) > 0)
            recalls[name, k] = float(torch.cat(hits).float().mean())
    return recalls["image", max(ks)]


@torch.no_grad()
def attribute_search(peer: PeerModel, embeddings: torch.Tensor, task: AttributeSearch) -> float:
    """Return the precision at 10 of marqo-FashionCLIP's run_retrieval, which searches one query at a time.

    Args:
        embeddings: float32 [n, d], of the documents.
    """
    cosine = torch.nn.CosineSimilarity(dim=1, eps=1e-6)
    precision = []
    for number, query in enumerate(task.queries):
        text = peer.model.encode_text(peer.tokenizer([query]))
        top = torch.topk(cosine(text / text.norm(dim=-1, keepdim=True), embeddings), 10)[1].numpy()
        precision.append((task.value_of[top] == number).mean())
    return float(np.mean(precision))


def document_embeddings(peer: PeerModel, packs: ImagePacks, task: AttributeSearch, workers: int) -> torch.Tensor:
    """Return marqo-FashionCLIP's document embeddings (get_embeddings): the weighted sum of each image and its texts."""
    images = encode(peer, packs, task.documents.images, workers)
    total = task.documents.weights["image"] * images
    for kind, rows in task.documents.text_rows.items():
        texts = encode_texts(peer, [task.documents.texts[row] if row >= 0 else "" for row in rows])
        total = total + task.documents.weights[kind] * texts
    return F.normalize(total, dim=-1)
