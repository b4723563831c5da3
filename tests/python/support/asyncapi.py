"""Checks an AsyncAPI 3.0 document against the specification's own schema, and its references."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft7Validator, SchemaError  # type: ignore[import-untyped]
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]

from tests.python.support.node_clients import NODE_FOLDER, find_node

SCHEMA = NODE_FOLDER / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"


def problems(document: Mapping[str, Any]) -> list[str]:
    """Returns the errors of a document, each with its location; empty if it is valid.

    Besides the specification's schema, every reference must resolve within the document, and every
    message's payload must be a schema.
    """
    find_node("@asyncapi/specs")
    validator = Draft7Validator(json.loads(SCHEMA.read_text()))
    # For an object that may be one of several kinds, the most relevant error.
    broken = [best_match([each]) for each in validator.iter_errors(document)]
    found = [f"{each.json_path}: {each.message}" for each in broken if each is not None]
    for place, value in _objects(document, "$"):
        reference = value.get("$ref")
        if reference is not None and not _leads_somewhere(document, reference):
            found.append(f"{place}: {reference} leads nowhere")
        if isinstance(payload := value.get("payload"), dict):
            try:
                Draft7Validator.check_schema(payload)
            except SchemaError as error:
                found.append(f"{place}.payload: {error.message}")
    return found


def _objects(value: object, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield place, value
        for key, each in value.items():
            yield from _objects(each, f"{place}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _objects(each, f"{place}[{index}]")


def _leads_somewhere(document: object, reference: str) -> bool:
    if not reference.startswith("#/"):
        return False
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True
