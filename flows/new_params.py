"""The params of a workspace for one table: the one template that `fclip init` and `params/table.yaml` are made from."""

from collections.abc import Mapping, Sequence

import yaml

from fclip.catalog.mapping.find_images import ImageLookup
from fclip.catalog.mapping.propose import ProposedMapping

MANY_PRODUCTS = 3000
"""From this number of products on the image tower is trained too."""
WEIGHTS = {"title": 0.4, "attributes": 0.3, "short": 0.3}
"""How often each kind of caption is sampled by default, relative to the others."""
DEFAULT_PROMPT = "a photo of a {}"
LABEL_PROMPTS = {"category": DEFAULT_PROMPT, "gender": "a photo of a product for {}"}

EXAMPLE = ProposedMapping(
    table="my-catalog/products.csv",
    product_id="id",
    images=ImageLookup(("image",), "my-catalog/images"),
    texts={"title": "title", "description": "description"},
    attributes={"category": "category", "colour": "colour"},
    num_products=500,
    label="category",
)
"""The mapping of `params/table.yaml`, the preset that one edits by hand."""

SHIFTS = {"scene": "{kind: scene}", "white": "{kind: scene, ground: white}", "camera": "{kind: camera}"}
"""The shifts of which the new workspace gets a derived dataset; `white` is the control of `scene` in audits."""

HEADER = "# A catalog of your own, made by `fclip init`. `fclip params` lists every setting with its default."
PRESET_HEADER = (
    "# A catalog of your own: edit `source`, or let `fclip init` write it. `fclip params` lists every setting."
)


def render_params(mapping: ProposedMapping, *, workspace: str, registered_model: str) -> str:
    """params.yaml of a workspace for the table of `mapping`; settings that have a default are left out."""
    kind = next(iter(_templates(mapping)))
    lines = [
        PRESET_HEADER if mapping is EXAMPLE else HEADER,
        f"base: {{workspace: {_scalar(workspace)}, registered_model: {_scalar(registered_model)}, seed: 0}}",
        *_ingest(mapping),
        *_caption(mapping),
        *_finetune(mapping),
        "average: {}",
        *_evaluate(mapping),
        *_derive(),
        "select: {}",
        "audit: {}",
        f"embed: {{batch_size: 32{'' if kind == 'title' else f', text: {kind}'}}}",
    ]
    return "\n".join(lines) + "\n"


def _ingest(mapping: ProposedMapping) -> list[str]:
    images = mapping.images
    columns = [_scalar(column) for column in images.columns]
    source = [
        f"path: {_scalar(mapping.table)}   # .csv, .tsv, .jsonl or .parquet; or https://…, s3://…, gs://…",
        f"image_folder: {_scalar(images.folder)}   # null: the image column has URLs",
        f"product_id: {_scalar(mapping.product_id)}"
        + ("" if mapping.merge_rows else "   # a column with unique values"),
        f"image: {columns[0] if len(columns) == 1 else '[' + ', '.join(columns) + ']'}",
    ]
    if images.suffix:
        source.append(f"image_suffix: {_scalar(images.suffix)}   # added to the names of the image column")
    if images.separator is not None:
        source.append(f"image_separator: {_scalar(images.separator)}   # between several images of a cell")
    if mapping.merge_rows:
        source.append("merge_rows: true   # consecutive rows with the same id are one product")
    if mapping.parent_id is not None:
        source.append(f"parent_id: {_scalar(mapping.parent_id)}   # a column that variants of one product share")
    if mapping is EXAMPLE:
        source += [
            '# image_suffix: ".jpg"     # if the image column omits it',
            '# image_separator: "|"     # between several images of a cell',
            "# merge_rows: true         # consecutive rows with the same id are one product",
            "# parent_id: style         # a column that variants of one product share",
        ]
    source += [f"texts: {_mapping(mapping.texts)}   # name in fclip: column of the table"]
    source += [f"attributes: {_mapping(mapping.attributes)}"]
    return [
        "ingest:",
        "  settings: {}",
        "  datasets:",
        "    catalog:",
        "      source:",
        "        kind: table",
        *(f"        {line}" for line in source),
        "      roles: {train: train, val: select, test: report}",
        *([f"      types: {_mapping(mapping.types)}"] if mapping.types else []),
    ]


def _caption(mapping: ProposedMapping) -> list[str]:
    head = (
        ["      head: category   # a caption that is shortened keeps this"] if "category" in mapping.attributes else []
    )
    return [
        "caption:",
        "  settings: {}",
        "  datasets:",
        "    catalog:   # templates; a name that a product lacks is left out",
        *head,
        *(f"      {kind}: {_listed(templates)}" for kind, templates in _templates(mapping).items()),
    ]


def _finetune(mapping: ProposedMapping) -> list[str]:
    many = mapping.num_products >= MANY_PRODUCTS
    lines = ["finetune:", "  base_model: {kind: fclip-tiny}"]
    if many:
        lines += ["  trainable: image_tower", "  batch_size: 128"]
    else:
        lines += ["  trainable: heads   # image_tower from some thousands of products on"]
        lines += ["  epochs: 4", f"  batch_size: {_batch_size(mapping.num_products)}"]
    kinds = [kind for kind in WEIGHTS if kind in _templates(mapping)] or list(_templates(mapping))
    if set(kinds) != set(WEIGHTS):
        weights = ", ".join(f"{kind}: {WEIGHTS.get(kind, 1.0)}" for kind in kinds)
        lines.append(f"  captions: {{{weights}}}")
    return lines


def _evaluate(mapping: ProposedMapping) -> list[str]:
    protocols = []
    kind = next(iter(_templates(mapping)))
    if mapping.label is not None:
        prompt = "{}" if mapping.language else LABEL_PROMPTS.get(mapping.label, "a photo of a {} product")
        templates = "" if prompt == DEFAULT_PROMPT else f", templates: [{_scalar(prompt)}]"
        protocols += [
            f"classification: {{kind: zero-shot, label: {mapping.label}{templates}}}",
            f"similar: {{kind: image-retrieval, label: {mapping.label}}}",
        ]
    protocols.append(f"retrieval: {{kind: retrieval{'' if kind == 'title' else f', caption: {kind}'}}}")
    metrics = ["retrieval.text_to_image.recall_at_10", *(["classification.acc1"] if mapping.label is not None else [])]
    primary, *others = reversed(metrics) if mapping.label == "category" else metrics
    return [
        "evaluate:",
        "  settings: {batch_size: 32}",
        "  datasets:",
        "    catalog:",
        f"      primary: {primary}",
        *(f"      holds: [{metric}]   # a new model must keep both" for metric in others),
        f"      slices: [{', '.join(mapping.slices)}]",
        "      protocols:",
        *(f"        {protocol}" for protocol in protocols),
    ]


def _derive() -> list[str]:
    scene, white, camera = (f"catalog-{name}: {{of: catalog, shift: {shift}}}" for name, shift in SHIFTS.items())
    return [f"derive: {{datasets: {{{scene},", f"  {white}, {camera}}}}}"]


def _templates(mapping: ProposedMapping) -> dict[str, list[str]]:
    """The templates of each kind of caption that the mapped columns allow, the most telling kind first."""
    texts, attributes = mapping.texts, mapping.attributes
    words = [f"{{{name}}}" for name in ("gender", "colour", "category") if name in attributes]
    templates = {}
    if "title" in texts:
        templates["title"] = ["{title}"]
    if longer := [f"{{{name}}}" for name in ("title", "highlights", "description") if name in texts][1:]:
        templates["highlights"] = [", ".join([*(["{title}"] if "title" in texts else []), *longer])]
    elif "title" not in texts and texts:
        templates["highlights"] = [f"{{{name}}}" for name in texts]
    if words:
        templates["attributes"] = [" ".join(words)]
    if "category" in attributes:
        templates["short"] = ["{category}", *(["{colour} {category}"] if "colour" in attributes else [])]
    return templates


def _batch_size(num_products: int) -> int:
    """128 for many products; for few a size of which the training split has at least two batches."""
    return 128 if num_products >= MANY_PRODUCTS else next((size for size in (32, 16, 8) if num_products >= 3 * size), 4)


def _listed(templates: Sequence[str]) -> str:
    shown = [f'"{template}"' for template in templates]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"


def _mapping(values: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{_scalar(name)}: {_scalar(value)}' for name, value in values.items())}}}"


def _scalar(value: str | None) -> str:
    """A value as YAML writes it inside a flow mapping."""
    written = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=float("inf"))
    return str(written).strip()[1:-1]
