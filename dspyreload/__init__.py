"""Live prompts for Twisted game servers: a saved DSPy module is live at once, whole or not at all.

>>> engine = DSPyEngine("modules", lm="demos")
>>> service = HotReloadService(engine, HotReloadConfig(debounce=0.1))
>>> service.setServiceParent(application)
>>> engine.invoke("npc.smith", player_message="Hello")     # a Deferred of a Reply

Importing this loads neither dspy nor a reactor.
"""

from dspyreload.config import HotReloadConfig, Limits
from dspyreload.engine import DSPyEngine
from dspyreload.errors import (
    AlreadyRunning,
    DSPyNotInstalled,
    DSPyReloadError,
    EngineBusy,
    EngineClosed,
    HotReloadFailed,
    InvokeTimeout,
    LeaseEnded,
    LimitExceeded,
    LMConfigInvalid,
    LMFailed,
    LoopNotStarted,
    MaxIterationsReached,
    MissingInput,
    NoLM,
    NotReady,
    OtherInputs,
    ProgramRefused,
    ReplyRefused,
    ServiceStopped,
    SignatureRefused,
    ToolRefused,
    UnknownInput,
    UnknownModule,
    WatcherError,
    WrongThread,
)
from dspyreload.live.handle import HotReloadHandle
from dspyreload.live.health import Health
from dspyreload.live.service import HotReloadService
from dspyreload.live.stats import CallStats, HotReloadStats
from dspyreload.live.validators import Validators
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.lm.reply import Chunk, Reply, ToolCall, Usage
from dspyreload.lm.templates import ProgramRegistry
from dspyreload.lm.tools import Tool, ToolRegistry
from dspyreload.lmconfig import LMSettings
from dspyreload.model.events import (
    EventsDropped,
    HealthChanged,
    HotReloadEvent,
    LMHealthChanged,
    ManifestChanged,
    ModuleChanged,
    ModuleDeleted,
    ModuleSkipped,
    ReloadError,
)
from dspyreload.model.manifest import ModuleEntry, ModuleManifest
from dspyreload.model.module import (
    Demo,
    FieldDefinition,
    ModuleMetadata,
    OptimizedModule,
    SavedPredictor,
    SignatureDefinition,
)
from dspyreload.model.restoring import KeptVersion
from dspyreload.model.snapshot import ModuleVersion, Snapshot
from dspyreload.talk.calls import ReplyFilters
from dspyreload.talk.leases import Lease
from dspyreload.talk.replies import ReplyStream

__all__ = [
    # Serving
    "DSPyEngine",
    "HotReloadService",
    "HotReloadConfig",
    "HotReloadHandle",
    "HotReloadStats",
    "CallStats",
    "Health",
    "Limits",
    "LMSettings",
    # Registering
    "SignatureRegistry",
    "ProgramRegistry",
    "ToolRegistry",
    "Tool",
    "Validators",
    "ReplyFilters",
    # Speaking
    "Reply",
    "ReplyStream",
    "Chunk",
    "Usage",
    "ToolCall",
    "Lease",
    # Events
    "HotReloadEvent",
    "ModuleChanged",
    "ManifestChanged",
    "ModuleDeleted",
    "ReloadError",
    "ModuleSkipped",
    "LMHealthChanged",
    "HealthChanged",
    "EventsDropped",
    # Values
    "OptimizedModule",
    "Demo",
    "SignatureDefinition",
    "FieldDefinition",
    "ModuleMetadata",
    "SavedPredictor",
    "ModuleManifest",
    "ModuleEntry",
    "ModuleVersion",
    "Snapshot",
    "KeptVersion",
    # Errors
    "DSPyReloadError",
    "AlreadyRunning",
    "DSPyNotInstalled",
    "EngineBusy",
    "EngineClosed",
    "HotReloadFailed",
    "InvokeTimeout",
    "LMConfigInvalid",
    "LMFailed",
    "LoopNotStarted",
    "LeaseEnded",
    "LimitExceeded",
    "MaxIterationsReached",
    "MissingInput",
    "NoLM",
    "NotReady",
    "OtherInputs",
    "ProgramRefused",
    "ReplyRefused",
    "ServiceStopped",
    "SignatureRefused",
    "ToolRefused",
    "UnknownInput",
    "UnknownModule",
    "WatcherError",
    "WrongThread",
]
