"""check_schema.py SCHEMA RESULTS.jsonl: every line must satisfy the JSON Schema; prints the first that does not."""

import json
import sys

import jsonschema

schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
lines = [json.loads(line) for line in open(sys.argv[2]) if line.strip()]
for number, line in enumerate(lines, 1):
    for error in validator.iter_errors(line):
        sys.exit(f"line {number}: {error.json_path}: {error.message}")
print(len(lines))
