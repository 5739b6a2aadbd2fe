"""Checks every example of an OpenAPI document against its schema."""

import json
import sys

from openapi_schema_validator import OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

document = json.load(open(sys.argv[1]))
registry = Registry().with_resource(
    "urn:document", Resource.from_contents(document, default_specification=DRAFT202012)
)


def absolute(value):
    """A schema whose references lead into the document wherever it stands."""
    if isinstance(value, dict):
        return {
            key: "urn:document" + item if key == "$ref" else absolute(item) for key, item in value.items()
        }
    return [absolute(item) for item in value] if isinstance(value, list) else value


checked = 0
wrong = []
for path, operations in document["paths"].items():
    for method, operation in operations.items():
        contents = list(operation.get("requestBody", {}).get("content", {}).values())
        for reply in operation["responses"].values():
            contents += reply.get("content", {}).values()
        for content in contents:
            if "example" not in content:
                continue
            checked += 1
            validator = OAS31Validator(
                absolute(content["schema"]), registry=registry, format_checker=OAS31Validator.FORMAT_CHECKER
            )
            errors = validator.iter_errors(content["example"])
            wrong += [f"{method} {path}: {list(error.path)}: {error.message}" for error in errors]
print(f"{checked} examples")
sys.exit("\n".join(wrong) if wrong or not checked else None)
