"""A small tavern of three characters, over telnet. Each speaks while it thinks; the keeper can look at his shelves."""

from __future__ import annotations

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from dspyreload import Chunk, DSPyEngine, Reply, Tool

log = Logger()

CHARACTERS = {"smith": "tavern.smith", "keeper": "tavern.keeper", "bard": "tavern.bard"}
SHELVES = {"drinks": ["ale", "dark ale", "something green"], "food": ["stew", "a heel of bread"]}


def look_at_shelf(shelf: str, context: Guest | None = None) -> list[str]:
    """The keeper's tool. It runs on the reactor thread; ``context`` is who asks, which no language model can set."""
    log.info("the keeper looks at the {shelf} for {guest}", shelf=shelf, guest=context)
    return SHELVES[shelf]


LOOK = Tool(
    "look_at_shelf",
    "See what there is to eat or to drink.",
    {"properties": {"shelf": {"enum": sorted(SHELVES)}}, "required": ["shelf"]},
    look_at_shelf,
)


class Guest(LineReceiver):
    """One guest's connection. ``smith: hello`` asks the smith; a line without a name goes to whom was asked last."""

    delimiter = b"\n"

    def __init__(self, engine: DSPyEngine) -> None:
        self.engine = engine
        self.asked = "keeper"
        self.turns = DeferredLock()

    def __str__(self) -> str:
        return f"the guest from {self.transport.getPeer()}" if self.transport is not None else "a guest"

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
            answer = self.turns.run(lambda: Deferred.fromCoroutine(self.hear(who, text)))  # one sentence at a time
            answer.addErrback(self.silence, who)

    async def hear(self, who: str, text: str) -> None:
        """Show what a character says as it says it; then the version and the language model that said it.

        The lease keeps the whole of one sentence, the tools that it takes included, on one version of everything; the
        next sentence is of what is live by then.
        """
        with self.engine.lease() as talk:
            self.write(f"The {who}: ")
            heard = False
            async for piece in talk.stream(
                CHARACTERS[who], player_message=text, timeout=30, key=str(self), context=self
            ):
                if isinstance(piece, Chunk) and piece.field == "response":
                    self.write(f"... {piece}" if piece.fallback and heard else piece)  # the model broke off
                    heard = True
                elif isinstance(piece, Reply):
                    self.say(
                        f"  [{', '.join([piece.version[:4], piece.lm, *(tool.name for tool in piece.tool_calls)])}]"
                    )

    def silence(self, failure: Failure, who: str) -> None:
        """A guest sees only that a character has nothing to say; why is for who runs the tavern."""
        log.error("the {who} can't speak: {error}", who=who, error=type(failure.value).__name__)
        self.say("... (nothing comes)")

    def write(self, text: str) -> None:
        """Send a piece of a line."""
        if self.transport is not None:
            self.transport.write(text.encode())

    def say(self, text: str) -> None:
        """Send the rest of a line."""
        self.write(text + "\r\n")


class Tavern(Factory):
    """Makes a :class:`Guest` for each connection; they share one engine."""

    def __init__(self, engine: DSPyEngine) -> None:
        self.engine = engine
        engine.tools.register(LOOK, modules="tavern.keeper")

    def buildProtocol(self, addr: object) -> Guest:  # noqa: ARG002
        return Guest(self.engine)
