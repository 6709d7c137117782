"""Errors with the status of the reply. Each reply is one sentence in the shape of OpenAI's errors."""

from typing import Any


class ServiceError(Exception):
    """A request that cannot be answered.

    Attributes:
        message: a sentence for the client. status: of HTTP. kind: `type` of the error in the reply.
    """

    def __init__(self, message: str, status: int = 400, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.message, self.status, self.kind = message, status, kind


class Busy(ServiceError):
    """Too much waits already."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 503, "overloaded_error")


class NotThere(ServiceError):
    """What the address or the request names does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 404, "not_found_error")


class NotReady(ServiceError):
    """Nothing is published that could answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 503, "not_ready_error")


def error_body(message: str, kind: str) -> dict[str, Any]:
    """Return the JSON of an error, as OpenAI's clients expect it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
