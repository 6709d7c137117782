"""Embed a user's images or texts to one file, in parts, so that an interrupted run continues where it stopped."""

import csv
import io
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fclip.embeddings.inputs import InputRows
from fclip.errors import UserError
from fclip.features.cache import as_lists
from fclip.features.similarity import FloatArray
from fclip.files import atomic_path, atomic_write, sha256_bytes, sha256_json
from fclip.progress import Tracker
from fclip.runtime.model import Model

ROWS_PER_PART = 1024
PARQUET, NUMPY = ".parquet", ".npy"


@dataclass(frozen=True)
class EmbeddedFile:
    """A written file.

    Attributes:
        num_rows: number of embeddings. num_reused: how many of them an interrupted run had computed.
        errors: file with the rows that have no embedding and the reasons; None if there are none.
    """

    num_rows: int
    num_reused: int
    num_errors: int
    errors: Path | None


@dataclass(frozen=True)
class Part:
    """The embeddings of some rows, and the reasons of rows without one, by index in the input."""

    indices: list[int]
    embeddings: FloatArray
    errors: dict[int, str]


def embed_to_file(model: Model, rows: InputRows, out: Path, *, batch_size: int) -> EmbeddedFile:
    """Write the embeddings of all rows to `out`, .parquet or .npy.

    Parquet has the columns `id`, for texts `text`, and `embedding`, and the model's digest in its metadata. For .npy,
    the ids are in a .txt file of the same name, one on each line. Rows that cannot be embedded are left out and listed
    in a .errors.csv file. Finished parts are in a .parts folder until `out` is complete.

    Raises:
        UserError: `out` has another suffix, or no row can be embedded.
    """
    if out.suffix not in (PARQUET, NUMPY):
        raise UserError(f"{out} must end in {PARQUET} or {NUMPY}")
    digest = model.manifest.model_sha256
    key = sha256_json([digest, rows.kind, rows.ids, [_state(value) for value in rows.values]])[:16]
    folder = out.with_name(f".{out.name}.parts") / key
    parts, num_reused = [], 0
    with closing(Tracker("Embedding", total=len(rows.values), unit=f"{rows.kind}s")) as tracker:
        for start in range(0, len(rows.values), ROWS_PER_PART):
            indices = range(start, min(start + ROWS_PER_PART, len(rows.values)))
            path = folder / f"{start:09d}.npz"
            part = _read_part(path)
            if part is None:
                part = _embed(model, rows, indices, batch_size, tracker)
                _write_part(path, part)
            else:
                num_reused += len(part.indices)
                tracker.advance(len(indices))
            parts.append(part)
    done = _join(model, rows, parts, out, num_reused)
    shutil.rmtree(folder.parent)
    return done


def _state(value: Path | bytes | str | None) -> object:
    """Return what changes when an input changes: size and time of a file, or the content."""
    if isinstance(value, Path):
        try:
            status = value.stat()
        except (OSError, ValueError):
            return [str(value), None]
        return [str(value), status.st_size, status.st_mtime_ns]
    return sha256_bytes(value) if isinstance(value, bytes) else value


def _embed(model: Model, rows: InputRows, indices: range, batch_size: int, tracker: Tracker) -> Part:
    done: list[int] = []
    blocks: list[FloatArray] = []
    errors: dict[int, str] = {}
    for start in range(indices.start, indices.stop, batch_size):
        batch = range(start, min(start + batch_size, indices.stop))
        kept, vectors = embed_batch(model, rows, batch, errors)
        done += kept
        blocks.append(vectors)
        tracker.advance(len(batch))
    return Part(done, np.concatenate(blocks), errors)


def embed_batch(
    model: Model, rows: InputRows, batch: Sequence[int], errors: dict[int, str]
) -> tuple[list[int], FloatArray]:
    """Return the rows with an embedding, and their embeddings. Add the reasons of other rows to `errors`."""
    present = [index for index in batch if rows.values[index] is not None]
    errors |= {index: f"no {rows.kind}" for index in batch if rows.values[index] is None}
    try:
        return present, _call(model, rows, present)
    except UserError:  # a row is invalid: find out which
        good, vectors = [], [np.empty((0, model.dim), np.float32)]
        for index in present:
            try:
                vectors.append(_call(model, rows, [index]))
                good.append(index)
            except UserError as error:
                errors[index] = str(error).removeprefix(f"{rows.kind} 0: ").removeprefix(f"{rows.kind} 0 ")
        return good, np.concatenate(vectors)


def _call(model: Model, rows: InputRows, indices: Sequence[int]) -> FloatArray:
    values = [rows.values[index] for index in indices]
    if rows.kind == "image":
        return model.embed_images(values, batch_size=max(len(values), 1))  # type: ignore[arg-type]
    return model.embed_texts([str(value) for value in values])


def _write_part(path: Path, part: Part) -> None:
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            indices=np.array(part.indices, np.int64),
            embeddings=part.embeddings,
            error_indices=np.array(list(part.errors), np.int64),
            error_texts=np.array(list(part.errors.values()), np.str_),
        )


def _read_part(path: Path) -> Part | None:
    if not path.is_file():
        return None
    with np.load(path) as stored:
        errors = dict(zip(stored["error_indices"].tolist(), stored["error_texts"].tolist(), strict=True))
        return Part(stored["indices"].tolist(), stored["embeddings"], errors)


def _join(model: Model, rows: InputRows, parts: Sequence[Part], out: Path, num_reused: int) -> EmbeddedFile:
    indices = [index for part in parts for index in part.indices]
    errors = {index: text for part in parts for index, text in part.errors.items()}
    if not indices:
        first, reason = next(iter(errors.items()))
        raise UserError(f"none of the {len(rows.ids)} rows can be embedded; the first is {rows.ids[first]}: {reason}")
    embeddings = np.concatenate([part.embeddings for part in parts])
    ids = [rows.ids[index] for index in indices]
    with atomic_path(out) as temporary:
        if out.suffix == NUMPY:
            np.save(temporary, embeddings)
        else:
            texts = [str(rows.values[index]) for index in indices] if rows.kind == "text" else None
            pq.write_table(_table(ids, texts, embeddings, model.manifest.model_sha256), temporary)
    if out.suffix == NUMPY:
        atomic_write(out.with_suffix(".txt"), "".join(" ".join(each.split()) + "\n" for each in ids))
    errors_file = out.with_suffix(".errors.csv")
    errors_file.unlink(missing_ok=True)
    if errors:
        atomic_write(errors_file, _csv([("id", "reason"), *((rows.ids[row], text) for row, text in errors.items())]))
    return EmbeddedFile(len(indices), num_reused, len(errors), errors_file if errors else None)


def _table(ids: list[str], texts: list[str] | None, embeddings: FloatArray, model_sha256: str) -> pa.Table:
    columns = {"id": pa.array(ids, pa.string())}
    if texts is not None:
        columns["text"] = pa.array(texts, pa.string())
    columns["embedding"] = as_lists(embeddings)
    return pa.table(columns).replace_schema_metadata({"fclip.model_sha256": model_sha256})


def _csv(rows: Sequence[tuple[str, ...]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()
