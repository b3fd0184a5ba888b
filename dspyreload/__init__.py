"""Live prompts for Twisted game servers: a saved DSPy module is live at once, whole or not at all.

>>> engine = DSPyEngine("modules", lm="demos")
>>> service = HotReloadService(engine, HotReloadConfig(debounce=0.1))
>>> service.setServiceParent(application)
>>> engine.invoke("npc.smith", player_message="Hello")     # a Deferred of a Reply

Importing this loads neither dspy nor a reactor.
"""

from dspyreload.config import HotReloadConfig
from dspyreload.engine import DSPyEngine
from dspyreload.errors import (
    AlreadyRunning,
    DSPyNotInstalled,
    DSPyReloadError,
    EngineClosed,
    HotReloadFailed,
    InvokeTimeout,
    LMFailed,
    MissingInput,
    NoLM,
    NotReady,
    ServiceStopped,
    SignatureRefused,
    UnknownInput,
    UnknownModule,
    WatcherError,
    WrongThread,
)
from dspyreload.live.service import HotReloadHandle, HotReloadService
from dspyreload.live.stats import HotReloadStats
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.lm.reply import Reply
from dspyreload.model.events import (
    EventsDropped,
    HotReloadEvent,
    ManifestChanged,
    ModuleChanged,
    ModuleDeleted,
    ModuleSkipped,
    ReloadError,
)
from dspyreload.model.manifest import ModuleEntry, ModuleManifest
from dspyreload.model.module import Demo, FieldDefinition, ModuleMetadata, OptimizedModule, SignatureDefinition
from dspyreload.model.snapshot import ModuleVersion, Snapshot

__all__ = [
    # Serving
    "DSPyEngine",
    "HotReloadService",
    "HotReloadConfig",
    "HotReloadHandle",
    "HotReloadStats",
    "SignatureRegistry",
    "Reply",
    # Events
    "HotReloadEvent",
    "ModuleChanged",
    "ManifestChanged",
    "ModuleDeleted",
    "ReloadError",
    "ModuleSkipped",
    "EventsDropped",
    # Values
    "OptimizedModule",
    "Demo",
    "SignatureDefinition",
    "FieldDefinition",
    "ModuleMetadata",
    "ModuleManifest",
    "ModuleEntry",
    "ModuleVersion",
    "Snapshot",
    # Errors
    "DSPyReloadError",
    "AlreadyRunning",
    "DSPyNotInstalled",
    "EngineClosed",
    "HotReloadFailed",
    "InvokeTimeout",
    "LMFailed",
    "MissingInput",
    "NoLM",
    "NotReady",
    "ServiceStopped",
    "SignatureRefused",
    "UnknownInput",
    "UnknownModule",
    "WatcherError",
    "WrongThread",
]
