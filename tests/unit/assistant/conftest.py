"""A folder of sessions for every test."""

import json

import pytest

from phi4local.assistant.sessions.library import SessionLibrary


@pytest.fixture
def library(home):
    """The sessions below `home`."""
    return SessionLibrary()


@pytest.fixture
def events():
    """`events(path)`: what stands in a session's file, read by nothing but `json`."""
    return lambda path: [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def talk():
    """`talk(session, "Hi", "Hello!")`: one turn."""

    def talk(session, question, answer, **facts):
        session.add_user(question)
        session.add_answer(answer, **{"reason": "stop", "tokens": 3, **facts})

    return talk
