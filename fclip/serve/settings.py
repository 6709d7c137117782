"""The limits of the service, and the keys that it asks for."""

import os
from dataclasses import dataclass

from fclip.errors import UserError

KEYS_VARIABLE = "FCLIP_API_KEYS"
MIN_KEY_LENGTH = 16
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Settings:
    """How the service runs. Limits bound the memory and time that a client can take.

    Attributes:
        hosts: names under which clients reach the service, besides its own address; checked against DNS rebinding.
        keys: a client must send one of them; empty on a loopback address only.
        log_queries: whether searches are written to the log of queries.
        max_body_bytes: size of a request. max_held_bytes: of all requests that are being answered; more get 503.
        max_pixels: of an image.
        max_inputs: texts or images of one request. max_text_chars: length of one text.
        max_waiting: requests that wait for the model; more are refused with 503.
        request_seconds: time of a request, from its first byte to the reply.
        header_seconds: time until the header of a request is complete, and between requests of a connection.
        max_connections: connections that are answered at once; more get 503.
        batch_size, batch_wait_ms: inputs that are embedded together, and how long the first one waits for others.
        num_threads: threads of the model; None for one per core.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    log_queries: bool = True
    max_body_bytes: int = 32 * 2**20
    max_held_bytes: int = 256 * 2**20
    max_pixels: int = 50_000_000
    max_inputs: int = 256
    max_text_chars: int = 20_000
    max_waiting: int = 256
    request_seconds: float = 30.0
    header_seconds: float = 10.0
    max_connections: int = 512
    batch_size: int = 32
    batch_wait_ms: float = 2.0
    num_threads: int | None = None

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.keys:
            raise UserError(
                f"the service would be open to everybody at {self.host}; set {KEYS_VARIABLE} to one or more keys, "
                "separated by commas, or use the address 127.0.0.1"
            )
        if short := [key for key in self.keys if len(key) < MIN_KEY_LENGTH]:
            raise UserError(
                f"a key in {KEYS_VARIABLE} has {len(short[0])} characters; at least {MIN_KEY_LENGTH} are needed"
            )


def keys_from_environment() -> tuple[str, ...]:
    """Return the keys in FCLIP_API_KEYS, separated by commas or white space; several, so that one can be replaced."""
    return tuple(os.environ.get(KEYS_VARIABLE, "").replace(",", " ").split())
