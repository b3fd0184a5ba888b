"""Run with ``twistd -ny examples/tavern/tavern.tac``, then ``telnet localhost 4000``."""

import os
import sys

from twisted.application import service, strports

from dspyreload import DSPyEngine, HotReloadService

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
from tavern import Tavern  # noqa: E402

application = service.Application("tavern")
engine = DSPyEngine(os.path.join(here, "modules"), lm=os.environ.get("TAVERN_LM", "demos"), fallback="demos")
HotReloadService(engine).setServiceParent(application)
port = os.environ.get("TAVERN_PORT", "tcp:4000:interface=127.0.0.1")
strports.service(port, Tavern(engine)).setServiceParent(application)
