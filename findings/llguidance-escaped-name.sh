#!/usr/bin/env bash
# llguidance: a property's name is compared as it is spelt. "\u0061" is the name "a" in JSON, but under a schema that
# wants an integer there it passes as another, free property, and the object that comes out breaks the schema.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check llguidance==1.7.6

venv/bin/python -I - <<'PY'
import json
import sys
from importlib.metadata import version

from llguidance import LLMatcher, LLTokenizer

print("llguidance", version("llguidance"))
schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
tokenizer = LLTokenizer("byte")
grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema))
assert not LLMatcher.validate_grammar(grammar, tokenizer)


def passes(text):
    tokens = tokenizer.tokenize_bytes(text.encode())
    matcher = LLMatcher(tokenizer, grammar)
    if matcher.validate_tokens(tokens) < len(tokens):
        return False
    matcher.consume_tokens(tokens)
    return matcher.is_accepting()


print(json.dumps(schema))
changed = False
for text, expected, seen_so_far in [
    ('{"a":1}', True, True),
    ('{"a":"x"}', False, False),
    (r'{"\u0061":"x"}', False, True),
]:
    seen = passes(text)
    print(f"{text}, which is {json.loads(text)}: expected {expected}, seen {seen}")
    changed |= seen != seen_so_far
sys.exit("changed" if changed else 0)
PY
