"""``dspyreload schema``: JSON Schemas for editors."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from dspyreload.commands.offline import add_setup, check_directory_named, read_manifest, registered
from dspyreload.config import HotReloadConfig
from dspyreload.disk.writing import make_file, replace_file
from dspyreload.errors import DSPyReloadError
from dspyreload.model.defaults import BUILT_IN, Default
from dspyreload.model.faults import shown
from dspyreload.model.registrations import Registrations
from dspyreload.model.schema import manifest_schema, module_schema, schema_of_both

__all__ = ["SCHEMAS", "add_schema", "write_schemas"]

SCHEMAS = ".schemas"
"""The folder for them: hidden, so that nobody takes them for modules."""


def add_schema(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("schema", help="print the JSON Schema of module files and manifests, for editors")
    parser.add_argument(
        "directory", metavar="DIR", nargs="?", help="a directory of modules, for the defaults of its manifest"
    )
    parser.add_argument(
        "--of", choices=("module", "manifest"), help="of one of the two; without it, one schema that fits both"
    )
    add_setup(parser)
    parser.add_argument("--write", action="store_true", help=f"write both into DIR/{SCHEMAS} instead of printing one")
    parser.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    if options.write and options.directory is None:
        raise DSPyReloadError("schema --write needs DIR, where it writes")
    if options.directory is not None:
        check_directory_named(options.directory)
    registrations, _refuses = registered(options.setup, None, options.directory or ".")
    if options.write:
        for path in write_schemas(options.directory, registrations):
            print(os.path.join(shown(options.directory), path))
        return 0
    schemas = _schemas(options.directory, registrations)
    print(json.dumps(schemas[options.of or "both"], indent=2, ensure_ascii=False))
    return 0


def write_schemas(directory: str, registrations: Registrations) -> list[str]:
    """Write both schemas into a directory, in place of those that are there.

    :return: their paths.
    :raises DSPyReloadError: where that fails.
    """
    texts = schema_texts(directory, registrations)
    for path, text in texts.items():
        write = replace_file if os.path.lexists(os.path.join(directory, path)) else make_file
        write(directory, path, text)
    return list(texts)


def schema_texts(directory: str | None, registrations: Registrations) -> dict[str, str]:
    """Return the text of each schema, by its path in a directory."""
    schemas = _schemas(directory, registrations)
    return {
        f"{SCHEMAS}/{name}.json": json.dumps(schemas[name], indent=2, ensure_ascii=False) + "\n"
        for name in ("module", "manifest")
    }


def _schemas(directory: str | None, registrations: Registrations) -> dict[str, dict[str, Any]]:
    signatures = {name: known.definition for name, known in registrations.signatures.items()}
    module = module_schema(signatures, _defaults(directory, registrations))
    manifest = manifest_schema(signatures)
    return {"module": module, "manifest": manifest, "both": schema_of_both(module, manifest)}


def _defaults(directory: str | None, registrations: Registrations) -> list[Default]:
    """List what may serve a module of this directory that names no signature."""
    game = [Default(signature_name=name) for name in dict.fromkeys(registrations.defaults.values())]
    listed: list[Default] = []
    manifest = None
    if directory is not None:
        manifest = read_manifest(os.path.realpath(directory), HotReloadConfig().max_file_size)
    if manifest is not None:
        listed = [found.over(BUILT_IN) for found in manifest.defaults]
        for entry in manifest.modules.values():  # it says what serves, in place of the file
            if entry.program is not None:
                listed.append(Default())
            elif entry.signature_name is not None:
                listed.append(Default(signature_name=entry.signature_name))
    return [BUILT_IN, *game, *listed]
