"""A small tavern of three characters, over telnet. Each speaks through ``engine.invoke``."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from dspyreload import DSPyEngine, Reply

log = Logger()

CHARACTERS = {"smith": "tavern.smith", "keeper": "tavern.keeper", "bard": "tavern.bard"}


class Guest(LineReceiver):
    """One guest's connection. ``smith: hello`` asks the smith; a line without a name goes to whom was asked last."""

    delimiter = b"\n"

    def __init__(self, engine: DSPyEngine) -> None:
        self.engine = engine
        self.asked = "keeper"

    def connectionMade(self) -> None:
        self.say("You are in the tavern. The smith, the keeper and the bard are here.")
        self.say("Say something, or 'smith: can you make me a sword?'; 'quit' leaves.")

    def lineReceived(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if text == "quit":
            if self.transport is not None:
                self.transport.loseConnection()
            return
        name, colon, rest = text.partition(":")
        if colon and name.strip().lower() in CHARACTERS:
            self.asked, text = name.strip().lower(), rest.strip()
        if text:
            who = self.asked
            spoken: Deferred[Any] = self.engine.invoke(CHARACTERS[who], player_message=text, timeout=30)
            spoken.addCallback(self.hear, who).addErrback(self.silence, who)

    def hear(self, reply: Reply, who: str) -> None:
        """Show what a character says, with the version and the language model that said it."""
        self.say(f"The {who}: {reply['response']}  [{reply.version[:4]}, {reply.lm}]")

    def silence(self, failure: Failure, who: str) -> None:
        """A guest sees only that a character has nothing to say; why is for who runs the tavern."""
        log.error("the {who} can't speak: {error}", who=who, error=type(failure.value).__name__)
        self.say(f"The {who} says nothing.")

    def say(self, text: str) -> None:
        """Send a line."""
        self.sendLine(text.encode() + b"\r")


class Tavern(Factory):
    """Makes a :class:`Guest` for each connection; they share one engine."""

    def __init__(self, engine: DSPyEngine) -> None:
        self.engine = engine

    def buildProtocol(self, addr: object) -> Guest:  # noqa: ARG002
        return Guest(self.engine)
