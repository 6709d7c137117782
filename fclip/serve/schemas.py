"""The JSON of requests and replies. These classes are the OpenAPI document."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from fclip.search.index import MAX_RESULTS

Role = Literal["champion", "challenger"]
MAX_K = 200
Weight = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Image = Annotated[StrictStr, Field(description="The base64 of an image file, or a data address. Nothing is fetched.")]


class Text(BaseModel):
    """A text to embed."""

    model_config = ConfigDict(extra="forbid")
    text: StrictStr


class Picture(BaseModel):
    """An image to embed."""

    model_config = ConfigDict(extra="forbid")
    image: Image


Input = StrictStr | Text | Picture


class EmbeddingsRequest(BaseModel):
    """As OpenAI's request; objects as Jina's, and `modality` as Infinity's."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input": ["red dress", {"image": "data:image/png;base64,…"}]}]}
    )
    input: Input | Annotated[list[Input | StrictInt | list[StrictInt]], Field(min_length=1)]
    model: StrictStr = Field("champion", description="`champion`, `challenger`, or the digest of a model.")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: StrictInt | None = Field(None, description="Only the length that the model has.")
    modality: Literal["text", "image"] = Field("text", description="What the strings in `input` are.")


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """fclip counts inputs, not tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(BaseModel):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class ModelCard(BaseModel):
    id: Role
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "fclip"
    model_sha256: str
    version: int | None
    index: str
    dimensions: int
    num_products: int


class ModelsReply(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class SearchRequest(BaseModel):
    """A query has a text, an image, or both."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": "red dress", "filters": {"colour": ["red"]}, "k": 10}]},
    )
    text: StrictStr | None = None
    image: Image | None = None
    negative: Annotated[StrictStr | None, Field(description="A text that products should not match.")] = None
    image_weight: Annotated[Weight, Field(description="Share of the image if there is a text too.")] = 0.5
    filters: Annotated[
        dict[StrictStr, StrictStr | list[StrictStr]],
        Field(description="Attribute to a value, or to several of which a product has one.", max_length=50),
    ] = {}
    hybrid: Annotated[StrictBool, Field(description="Rank matching words too, and fuse both rankings.")] = False
    k: Annotated[StrictInt, Field(ge=1, le=MAX_K)] = 20
    offset: Annotated[StrictInt, Field(ge=0, le=MAX_RESULTS - MAX_K)] = 0
    facets: Annotated[StrictBool, Field(description="Whether to count the values of each attribute.")] = False
    model: Role = "champion"

    @property
    def num_ranked(self) -> int:
        """The number of products to rank."""
        return min(self.offset + self.k, MAX_RESULTS)


class Result(BaseModel):
    """A product. `image`: the address of its most similar picture on this service."""

    dataset: str
    product_id: str
    score: float
    similarity: float
    title: str
    attributes: dict[str, str]
    image_sha256: str
    image: str


class SearchReply(BaseModel):
    """`num_matching`: products that the filters leave; a search ranks all of them."""

    model: Role
    model_sha256: str
    version: int | None
    index: str
    since: str
    offset: int
    num_matching: int
    results: list[Result]
    facets: dict[str, dict[str, int]] | None = None


class Problem(BaseModel):
    message: str
    type: str
    param: None = None
    code: None = None


class ErrorReply(BaseModel):
    error: Problem


class Grade(BaseModel):
    """What a person says of one product for one query: from 0 (wrong) to 4 (an exact match)."""

    model_config = ConfigDict(extra="forbid")
    query: Annotated[StrictStr, Field(min_length=1, max_length=1000)]
    dataset: StrictStr
    product_id: StrictStr
    grade: Annotated[StrictInt, Field(ge=0, le=4)]
    by: Annotated[StrictStr, Field(min_length=1, max_length=100)]
    model: Role | Literal[""] = Field("", description="Whose result it was.")
    index: Annotated[StrictStr, Field(max_length=100, description="The index that found it, as in the reply.")] = ""


class GradesRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"grades": [
            {"query": "red dress", "dataset": "shop", "product_id": "p1", "grade": 4, "by": "Ada"}
        ]}]},
    )  # fmt: skip
    grades: Annotated[list[Grade], Field(min_length=1, max_length=100)]


class GradesReply(BaseModel):
    num_stored: int


Responses = dict[int | str, dict[str, Any]]
ERRORS: Responses = {
    status: {"model": ErrorReply, "description": reason}
    for status, reason in (
        (400, "The request is wrong; the message says what."),
        (401, "A key is missing or wrong."),
        (404, "It does not exist."),
        (413, "The request is too large."),
        ("4XX", "It took too long (408), is not JSON (415), or is for another host (421)."),
        (503, "Overloaded, or nothing is published."),
    )
}
