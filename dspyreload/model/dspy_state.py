"""What DSPy's own ``program.save("x.json")`` writes: recognized here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_dspy_state"]

_PREDICTOR_KEYS = {"traces", "train", "demos", "signature"}
_MODULE_KEYS = {"module_id", "instruction", "instruction_file", "predictor_type", "signature_name"}


def is_dspy_state(value: Mapping[str, Any]) -> bool:
    """Say whether a JSON object is a saved DSPy program: of one bare predictor, or of several by name."""
    if not _MODULE_KEYS.isdisjoint(value):
        return False
    if value.keys() >= _PREDICTOR_KEYS:
        return True
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and "dependency_versions" in metadata:
        return True
    parts = [part for name, part in value.items() if name != "metadata"]
    return bool(parts) and all(isinstance(part, dict) and part.keys() >= _PREDICTOR_KEYS for part in parts)
