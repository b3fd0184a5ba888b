"""JSON Schemas of module files and manifests, for editors: made from the classes that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from dspyreload.model.defaults import BUILT_IN, Default, DefaultsKeys
from dspyreload.model.manifest import EntryKeys
from dspyreload.model.module import FieldDefinition, FieldType, SignatureDefinition
from dspyreload.model.module_file import ModuleFile

__all__ = ["manifest_schema", "module_schema", "schema_of_both"]

_DIALECT = "http://json-schema.org/draft-07/schema#"  # the newest that VS Code knows in full
_DEFINED = "#/definitions/{name}"

_WORDS: Mapping[str, Mapping[str, str]] = {
    "ModuleFile": {
        "module_id": "What the game asks for. Left out: the path, with dots.",
        "predictor_type": "predict: it answers. chain_of_thought: it thinks first.",
        "signature_name": "A signature that the game registered.",
        "signature": "The fields of this module, where the game registered none.",
        "instruction": "Who speaks, and how: the system prompt.",
        "instruction_file": "A text file with the instruction, relative to this file.",
        "include": "Text files that are placed before the instruction, in order, relative to this file.",
        "demos": "Demonstrations: what was said, and what the character answered.",
        "tool_enabled": "Whether it may ask the game to do something before it answers.",
        "fallback": "What is said when the language model can't answer, one after the other.",
        "metadata": "Where the module came from; notes of your own are kept.",
    },
    "SignatureDefinition": {"inputs": "What goes in.", "outputs": "What comes out."},
    "FieldDefinition": {
        "name": "Letters, digits and _.",
        "description": "What it is; the language model reads this.",
        "field_type": "string, unless it says otherwise.",
    },
    "Demo": {"inputs": "What was said.", "outputs": "What the character answered."},
    "ModuleMetadata": {
        "optimizer": "What made it.",
        "optimized_at": "When, such as 2025-11-24T10:30:00Z.",
        "metric_score": "How good it was.",
        "version": "The writer's own number.",
    },
    "EntryKeys": {
        "path": "The file, relative to the manifest, with / between its parts.",
        "hash": "null, or what `dspyreload hash` wrote: then only these bytes are served.",
        "tags": "Words to find modules by.",
        "program": "The registered DSPy program that serves it.",
        "signature_name": "The registered signature that serves it, whatever its file says.",
        "predictor_type": "In place of what its file says.",
        "lm": "A language model that the operator named.",
        "temperature": "0 to 2, within what the operator allows.",
        "max_tokens": "1 or more, within what the operator allows.",
    },
    "DefaultKeys": {
        "signature_name": "A registered signature, for modules that name none.",
        "signature": "Fields, for modules that have none.",
        "predictor_type": "For modules that do not say it.",
    },
}
_WORDS = {
    **_WORDS,
    "DefaultsKeys": {
        **_WORDS["DefaultKeys"],
        "folders": "The same for the modules below a folder.",
        "tags": "The same for the modules that have a tag.",
    },
}

_LEFT_OUT = {"FieldDefinition": ("optional", "prefix"), "ModuleMetadata": ("extra",)}
_OPEN = ("ModuleMetadata",)  # other keys are kept

_TYPES: dict[FieldType, dict[str, Any]] = {
    "string": {"type": "string"}, "int": {"type": "integer"}, "float": {"type": "number"},
    "bool": {"type": "boolean"}, "list": {"type": "array"}, "json": {},
}  # fmt: skip


def module_schema(
    signatures: Mapping[str, SignatureDefinition] | None = None, defaults: Iterable[Default] = (BUILT_IN,)
) -> dict[str, Any]:
    """Return the schema of module files.

    :param signatures: what the game registered, by name: modules that name one must demonstrate its fields.
    :param defaults: what may serve a module that names no signature.
    """
    known = signatures or {}
    schema, definitions = _components(ModuleFile)
    schema["properties"]["$schema"] = {"type": "string"}
    schema["properties"]["fallback"]["items"] = {"type": "object", "minProperties": 1}
    definitions["SignatureDefinition"]["properties"]["outputs"]["minItems"] = 1
    definitions["FieldDefinition"]["properties"]["name"]["pattern"] = "^[A-Za-z][A-Za-z0-9_]*$"
    schema["allOf"] = [*_forms(), *_demonstrated(known, defaults, definitions)]
    keys = ["traces", "train", "demos", "signature"]
    predictor = {"type": "object", "required": keys}
    versions = {"type": "object", "required": ["dependency_versions"]}
    saved = {
        "anyOf": [
            {"properties": {"metadata": versions}, "required": ["metadata"]},
            {"required": keys},
            {
                "properties": {"metadata": {}},
                "additionalProperties": predictor,
                "minProperties": 1,
                "not": {"required": ["metadata"], "maxProperties": 1},
            },
        ]
    }
    return {
        "$schema": _DIALECT,
        "title": "A dspyreload module",
        "type": "object",
        "if": saved,  # what DSPy saved is checked by dspyreload, beside its program
        "else": {"$ref": _DEFINED.format(name="ModuleFile")},
        "definitions": {"ModuleFile": schema, **definitions},
    }


def manifest_schema(signatures: Iterable[str] = ()) -> dict[str, Any]:
    """Return the schema of ``manifest.json``.

    :param signatures: names that the game registered; an editor offers them.
    """
    entry, definitions = _components(EntryKeys)
    defaults, more = _components(DefaultsKeys)
    entry["properties"]["path"]["pattern"] = r"^[^/\\][^\\]*$"
    hashed = {"type": "string", "pattern": "^(sha256:)?[0-9a-fA-F]{64}$"}
    entry["properties"]["hash"] = {**_kept(entry["properties"]["hash"]), "anyOf": [{"type": "null"}, hashed]}
    entry["properties"]["temperature"] |= {"minimum": 0, "maximum": 2}
    entry["properties"]["max_tokens"] |= {"minimum": 1}
    names = list(signatures)
    if names:
        for part in (entry, defaults, more["DefaultKeys"]):
            part["properties"]["signature_name"]["examples"] = names
    return {
        "$schema": _DIALECT,
        "title": "A dspyreload manifest",
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            "version": {
                "description": "Of the format: 1.0.",
                "type": "string",
                "pattern": "^1(\\.|$)",
                "default": "1.0",
            },
            "defaults": {
                "description": "What modules take that say nothing themselves.",
                "allOf": [{"$ref": _DEFINED.format(name="DefaultsKeys")}],
            },
            "modules": {
                "description": "The modules that are served, by id.",
                "type": "object",
                "additionalProperties": {"$ref": _DEFINED.format(name="EntryKeys")},
            },
        },
        "required": ["modules"],
        "additionalProperties": False,
        "definitions": {"EntryKeys": entry, "DefaultsKeys": defaults, **definitions, **more},
    }


def schema_of_both(module: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    """Return one schema for both kinds of file: one with ``modules`` is a manifest."""
    definitions = {**module["definitions"], **manifest["definitions"]}
    parts = {
        name: {key: value for key, value in schema.items() if key not in ("$schema", "definitions")}
        for name, schema in (("module", module), ("manifest", manifest))
    }
    return {
        "$schema": _DIALECT,
        "title": "A dspyreload module or manifest",
        "if": {"required": ["modules"]},
        "then": {"$ref": _DEFINED.format(name="manifest")},
        "else": {"$ref": _DEFINED.format(name="module")},
        "definitions": {**definitions, **parts},
    }


def _components(kind: type[Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the schema of a class that is read from files, and of those that it is made of."""
    _, found = msgspec.json.schema_components([kind], ref_template=_DEFINED)
    for name, schema in found.items():
        schema.pop("title", None)
        schema.pop("description", None)  # written for programmers
        for key in _LEFT_OUT.get(name, ()):
            schema["properties"].pop(key)
        schema["additionalProperties"] = name in _OPEN
        for key, value in schema["properties"].items():
            value.pop("default", None)
            words = {"description": _WORDS[name][key]} if key in _WORDS.get(name, ()) else {}
            # Beside a $ref, draft 7 reads nothing.
            schema["properties"][key] = {"allOf": [value], **words} if "$ref" in value else {**value, **words}
    return found.pop(kind.__name__), found


def _kept(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"]}


def _forms() -> list[dict[str, Any]]:
    """Say what belongs together in a module file."""
    filled = {"type": "string", "pattern": r"\S"}
    return [
        {"oneOf": [{"required": ["instruction"]}, {"required": ["instruction_file"]}]},
        {"dependencies": {"module_id": ["predictor_type", "signature_name"]}},
        {"if": {"required": ["predictor_type", "signature_name"]}, "then": {"required": ["module_id"]}},
        {"properties": dict.fromkeys(("module_id", "signature_name", "instruction", "instruction_file"), filled)},
    ]


def _demonstrated(
    known: Mapping[str, SignatureDefinition], defaults: Iterable[Default], definitions: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Say which fields demonstrations must have, by the signature that the module names, or by the defaults."""
    rules = []
    for number, (name, signature) in enumerate(sorted(known.items())):
        definitions[f"Demo-signature-{number}"] = _demo(signature)
        named = {"properties": {"signature_name": {"const": name}}, "required": ["signature_name"]}
        rules.append({"if": named, "then": _demos([f"Demo-signature-{number}"], [signature])})
    served = [known.get(default.signature_name, default.signature) for default in defaults]
    fields = [signature for signature in served if signature is not None]
    if fields and len(fields) == len(served):  # else what serves may be anything
        names = [f"Demo-default-{number}" for number in range(len(fields))]
        definitions |= {name: _demo(signature) for name, signature in zip(names, fields, strict=True)}
        anything = [{"required": ["signature_name"]}, {"required": ["signature"]}]
        rules.append({"if": {"not": {"anyOf": anything}}, "then": _demos(names, fields)})
    return rules


def _demos(names: list[str], signatures: list[SignatureDefinition]) -> dict[str, Any]:
    items = [{"$ref": _DEFINED.format(name=name)} for name in names]
    lines = [_side(signature.outputs, said=True, needed=False) for signature in signatures]
    return {
        "properties": {
            "demos": {"items": items[0] if len(items) == 1 else {"anyOf": items}},
            "fallback": {"items": lines[0] if len(lines) == 1 else {"anyOf": lines}},
        }
    }


def _demo(signature: SignatureDefinition) -> dict[str, Any]:
    sides = {"inputs": _side(signature.inputs), "outputs": _side(signature.outputs, said=True)}
    return {"type": "object", "properties": sides, "required": ["inputs", "outputs"], "additionalProperties": False}


def _side(fields: Iterable[FieldDefinition], *, said: bool = False, needed: bool = True) -> dict[str, Any]:
    properties = {
        field.name: {**_TYPES[field.field_type], **({"description": field.description} if field.description else {})}
        for field in fields
    }
    thought = {"reasoning": {"type": "string", "description": "Of a chain_of_thought: what it thinks first."}}
    return {
        "type": "object",
        "properties": {**(thought if said else {}), **properties},
        "required": [field.name for field in fields if needed and not field.optional],
        "additionalProperties": False,
    }
