"""An HTTP client for one request at a time, which checks the response."""

import http.client
import json
from typing import Any

from bench.errors import BenchError
from bench.requests import Request

TIMEOUT_S = 30.0


class HttpClient:
    """One connection to `/graphql`, which is kept open."""

    def __init__(self, port: int) -> None:
        """Connects to 127.0.0.1 with the first request."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def post(self, request: Request) -> Any:  # noqa: ANN401 - what JSON may hold
        """Sends a request and returns the value of the response's only field.

        Raises:
            BenchError: there is no response, or it is an error, which the message contains.
        """
        headers = {
            "Authorization": f"Bearer {request.token}",
            "Content-Type": "application/json",
        }
        try:
            self._connection.request("POST", "/graphql", request.body.encode(), headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"the server does not answer {request.body}: {error!r}") from error
        if response.status != http.HTTPStatus.OK or not _is_success(answer):
            text = answer.decode(errors="replace")
            raise BenchError(
                f"the server answers {request.body} with HTTP {response.status}: {text}"
            )
        (field,) = json.loads(answer)["data"].values()
        return field

    def close(self) -> None:
        """Disconnects."""
        self._connection.close()


def _is_success(answer: bytes) -> bool:
    body = json.loads(answer)
    fields = (body.get("data") or {"data": None}).values()
    return "errors" not in body and all(
        field is not None and (isinstance(field, list) or field.get("success", True))
        for field in fields
    )
