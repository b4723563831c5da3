"""The validators accept a valid document and refuse an invalid one."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from jsonschema import ValidationError  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus
from schemathesis.core.failures import FailureGroup

from tests.python.support import asyncapi
from tests.python.support.upstream_services import UpstreamServices

Document = dict[str, Any]

OPENAPI: Document = {
    "openapi": "3.1.0",
    "info": {"title": "Users", "version": "1"},
    "paths": {
        "/users/{id}": {
            "get": {
                "parameters": [
                    {
                        "name": "id",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string", "minLength": 1},
                    }
                ],
                "responses": {
                    "404": {
                        "description": "no such user",
                        "content": {"application/json": {"schema": {"required": ["error"]}}},
                    }
                },
            }
        }
    },
}
ASYNCAPI: Document = {
    "asyncapi": "3.0.0",
    "info": {"title": "Orders", "version": "1"},
    "channels": {
        "order-events": {
            "messages": {
                "placed": {"payload": {"type": "object", "properties": {"_id": {"type": "string"}}}}
            }
        }
    },
    "operations": {
        "announce": {"action": "send", "channel": {"$ref": "#/channels/order-events"}},
    },
}


def test_openapi_is_validated() -> None:
    validate(OPENAPI, cls=OpenAPIV31SpecValidator)
    wrong = copy.deepcopy(OPENAPI)
    del wrong["paths"]["/users/{id}"]["get"]["parameters"][0]["in"]
    with pytest.raises(ValidationError):
        validate(wrong, cls=OpenAPIV31SpecValidator)


def test_asyncapi_is_validated() -> None:
    assert asyncapi.problems(ASYNCAPI) == []


def _without_a_title(document: Document) -> None:
    del document["info"]["title"]


def _with_another_action(document: Document) -> None:
    document["operations"]["announce"]["action"] = "publish"


def _with_a_dangling_reference(document: Document) -> None:
    document["operations"]["announce"]["channel"]["$ref"] = "#/channels/nothing"


def _with_a_payload_of_no_type(document: Document) -> None:
    document["channels"]["order-events"]["messages"]["placed"]["payload"]["type"] = "order"


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (_without_a_title, "$.info: "),
        (_with_another_action, "$.operations.announce"),
        (_with_a_dangling_reference, "$.operations.announce.channel: #/channels/nothing leads"),
        (_with_a_payload_of_no_type, "$.channels.order-events.messages.placed.payload: "),
    ],
)
def test_an_invalid_asyncapi_document_is_refused_with_the_location(
    spoil: Callable[[Document], None], place: str
) -> None:
    wrong = copy.deepcopy(ASYNCAPI)
    spoil(wrong)
    found = asyncapi.problems(wrong)
    assert any(each.startswith(place) for each in found), found


def test_metrics_are_parsed_in_both_formats() -> None:
    prometheus = "# HELP orders_total Orders.\n# TYPE orders_total counter\norders_total 1.0\n"
    (family,) = parse_prometheus(prometheus)
    assert (family.documentation, family.samples[0].value) == ("Orders.", 1.0)
    openmetrics = prometheus.replace(" orders_total Orders", " orders Orders").replace(
        "TYPE orders_total", "TYPE orders"
    )
    (family,) = parse_openmetrics(openmetrics + "# EOF\n")  # type: ignore[no-untyped-call]
    assert (family.name, family.type) == ("orders", "counter")
    with pytest.raises(ValueError, match="EOF"):
        list(parse_openmetrics(openmetrics))  # type: ignore[no-untyped-call]


def test_schemathesis_finds_an_undocumented_response(upstream: UpstreamServices) -> None:
    schema = schemathesis.openapi.from_dict(OPENAPI)
    case = schema["/users/{id}"]["GET"].Case(path_parameters={"id": "1"})
    case.call_and_validate(base_url=upstream.url)
    upstream.misbehave("status", status=500)
    with pytest.raises(FailureGroup, match="Undocumented HTTP status code"):
        case.call_and_validate(base_url=upstream.url)
