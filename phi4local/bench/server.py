"""A model behind a server's address, measured as its clients see it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local import __version__
from phi4local.bench import matrix
from phi4local.bench.chat import Chat
from phi4local.bench.row import Row
from phi4local.bench.run import Step
from phi4local.bench.speakers import RemoteSpeaker
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phi4local.bench.matrix import Test
    from phi4local.bench.raw import Rounds
    from phi4local.runtime.remote.model import RemoteModel

SERVER = "server"
_MEASURED = ("n_prompt", "n_gen", "n_depth", "parallel")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBench:
    """What to measure of a server.

    Prompts are words, as many as make the wanted number of tokens. An answer that the server ends early is
    measured as far as it goes, and counted as if it had gone on like that.

    Attributes:
        open_model: connects to the server.
        tests: without settings: those are the server's.
        rounds: how often.
        tell: told what begins.
    """

    open_model: Callable[[], RemoteModel]
    tests: Sequence[Test]
    rounds: Rounds
    tell: Callable[[Step], None] = lambda _step: None

    def rows(self) -> Iterator[Row]:
        """Yield a row for each test.

        Raises:
            InvalidSettingError: a setting that only a model on this machine has.
            RemoteError: the server is not there, or fails.
        """
        check_server(self.tests)
        with self.open_model() as model:
            chat = Chat.of(RemoteSpeaker(model), self.rounds)
            for number, test in enumerate(self.tests):
                time.sleep(self.rounds.delay_seconds)
                named = Row(
                    **{name: getattr(test, name) for name in _MEASURED},
                    path=SERVER,
                    model=model.name,
                    model_filename=model.address,
                    backends=SERVER,
                    version=__version__,
                    test_time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                )
                yield self._measured(chat, named, test, number)

    def _measured(self, chat: Chat, named: Row, test: Test, number: int) -> Row:
        def step(repeat: int) -> None:
            tests, repeats = len(self.tests), self.rounds.repeats
            self.tell(Step(row=named, number=number + 1, tests=tests, repeat=repeat, repeats=repeats))

        samples = chat.measure(test, step) | {"sampling_ns": None}
        return Row.from_mapping(named.to_mapping() | samples)


def check_server(tests: Sequence[Test]) -> None:
    """Refuse what a server decides by itself, or does not tell.

    Raises:
        InvalidSettingError: with the option.
    """
    settings = [name for name in matrix.NAMES if name not in _MEASURED]
    for test in tests:
        for name in test.given(*settings):
            raise InvalidSettingError(
                name, "has no meaning for a server", hint="leave it out; it has its own"
            )
        if test.n_depth and test.n_prompt:
            raise InvalidSettingError(
                "n_depth",
                "cannot be measured with a prompt: servers do not tell what their cache holds",
                hint="leave -d out, or measure answers only: -p 0",
            )
