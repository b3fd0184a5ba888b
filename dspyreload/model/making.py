"""Bytes that were read, or kept → a module version, or why not."""

from __future__ import annotations

from dspyreload.model.defaults import effective_default
from dspyreload.model.faults import FaultError, Warned, quoted
from dspyreload.model.manifest import ModuleEntry, composed, default_id
from dspyreload.model.module_file import ModuleDraft, parse_module
from dspyreload.model.registrations import Registrations
from dspyreload.model.serving import serve
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["draft_of", "make_version"]


def draft_of(
    path: str, data: bytes, module_id: str | None, entry: ModuleEntry | None, registrations: Registrations
) -> ModuleDraft:
    """Decode a module's file.

    :param module_id: the id under which the manifest lists it; None without a manifest.
    :raises FaultError: where it has a fault, or says that it is another module.
    """
    draft = parse_module(
        data,
        module_id or default_id(path),
        signature_name=entry.signature_name if entry is not None else None,
        predictor_type=entry.predictor_type if entry is not None else None,
        default=effective_default(
            entry.default if entry is not None else None,
            registrations.defaults,
            path,
            entry.tags if entry is not None else (),
        ),
    )
    if module_id is not None and composed(draft.module.module_id) != module_id:
        raise FaultError(
            f"the file says it is {quoted(draft.module.module_id)},"
            f" and manifest.json lists it as {quoted(module_id)}; correct one of them",
            ("module_id",),
        )
    return draft


def make_version(
    draft: ModuleDraft,
    path: str,
    digest: str,
    data: bytes,
    texts: tuple[bytes, ...],
    entry: ModuleEntry | None,
    registrations: Registrations,
) -> tuple[ModuleVersion, tuple[Warned, ...]]:
    """Hold a draft and what it includes against what is registered; return its version, and what is odd about it.

    :param digest: of all its files. ``data``: the bytes of its own. ``texts``: of what it includes, in order.
    :raises Waits: where what it needs is not registered yet.
    :raises FaultError: where it can't be served.
    """
    module = draft.complete(tuple(text.decode() for text in texts))
    served = serve(draft, module, entry, registrations)
    version = ModuleVersion(
        module_id=composed(module.module_id),
        path=path,
        version=digest,
        data=data,
        texts=texts,
        entry=entry,
        registration=served.registration,
        default=draft.default if entry is None or entry.program is None else None,
    )
    registrations.prove(version)
    return version, served.warnings
