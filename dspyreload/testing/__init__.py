"""The fakes that dspyreload's own tests use, for yours: a clock, an observer of files, and language models.

>>> reactor = ReactorClock()
>>> engine = DSPyEngine("modules", lm=ScriptedLM({"response": "Aye."}).lm, reactor=reactor)

:class:`ScriptedLM` answers in the process, :class:`ChatServer` over HTTP, to the client that DSPy has for real models:

>>> server = ChatServer({"response": "Aye."}, Refuse(429, retry_after=0))
>>> await server.start()
>>> lm = dspy.LM("openai/anything", api_base=server.url, api_key="x", cache=False)
"""

from dspyreload.testing.answers import Prompt
from dspyreload.testing.chat_server import ChatServer, Die, Hang, Refuse
from dspyreload.testing.clock import ReactorClock
from dspyreload.testing.lm import ScriptedLM
from dspyreload.testing.observer import FakeObserver

__all__ = ["ReactorClock", "FakeObserver", "Prompt", "ScriptedLM", "ChatServer", "Refuse", "Hang", "Die"]
