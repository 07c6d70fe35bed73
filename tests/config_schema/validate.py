"""Validates documents against a JSON Schema: why each is wrong, or null, as a JSON list."""
import json
import sys

from jsonschema import Draft7Validator

with open(sys.argv[1]) as file:
    schema = json.load(file)
Draft7Validator.check_schema(schema)
validator = Draft7Validator(schema)
documents = json.load(sys.stdin)
errors = (next(validator.iter_errors(document), None) for document in documents)
print(json.dumps([error and f"{error.json_path}: {error.message}" for error in errors]))
