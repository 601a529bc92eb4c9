"""`break_up`: no piece of plain text may hold a token's string."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4local.prompts import TextSegment, TokenSegment, break_up

THINK = ["<think>", "</think>"]
few_letters = st.text("ab<", max_size=40)
token_strings = st.lists(st.text("ab<", min_size=1, max_size=5), max_size=5)


def test_text_without_a_token_stays_in_one_piece():
    assert break_up("What does a < b mean?", THINK) == ["What does a < b mean?"]


def test_empty_text_has_no_pieces():
    assert break_up("", THINK) == []


def test_no_tokens_mean_no_cuts():
    assert break_up("<think>", []) == ["<think>"]


def test_a_typed_token_is_cut_before_its_last_character():
    assert break_up("a</think>b", THINK) == ["a</think", ">b"]


def test_every_occurrence_is_cut():
    assert break_up("<think><think>", THINK) == ["<think", "><think", ">"]


def test_one_cut_serves_two_overlapping_occurrences():
    assert break_up("aaa", ["aa"]) == ["a", "a", "a"]
    assert break_up("abcd", ["abc", "bcd"]) == ["ab", "cd"]


def test_a_token_that_begins_another_token_is_cut_too():
    assert break_up("abcd", ["ab", "abcd"]) == ["a", "bcd"]


def test_strings_of_one_character_and_empty_ones_cannot_be_cut_and_are_ignored():
    assert break_up("a b", ["", " ", "a"]) == ["a b"]


@settings(max_examples=400, deadline=None)
@given(text=few_letters, strings=token_strings)
def test_pieces_join_to_the_text_and_hold_no_token(text, strings):
    pieces = break_up(text, strings)
    assert "".join(pieces) == text
    assert all(pieces)
    assert not [s for s in strings if len(s) > 1 for piece in pieces if s in piece]


@settings(max_examples=300, deadline=None)
@given(text=st.text("ab", max_size=10), strings=token_strings)
def test_there_are_as_few_cuts_as_possible(text, strings):
    spans = [
        range(start + 1, start + len(s))
        for s in set(strings)
        if len(s) > 1
        for start in range(len(text))
        if text.startswith(s, start)
    ]
    fewest = min(
        cuts.bit_count()
        for cuts in range(1 << max(len(text), 1))
        if all(any(cuts >> place & 1 for place in span) for span in spans)
    )
    assert len(break_up(text, strings)) == (fewest + 1 if text else 0)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=80), strings=st.lists(st.text(max_size=4), max_size=4))
def test_any_unicode_is_broken_up_without_loss(text, strings):
    pieces = break_up(text, strings)
    assert "".join(pieces) == text
    assert not [s for s in strings if len(s) > 1 for piece in pieces if s in piece]


@pytest.mark.parametrize(
    "text", ["<think>" * 50_000, "<|" * 175_000, "<" * 350_000, "<thin" * 70_000, "a" * 350_000]
)
@pytest.mark.timeout(60)  # quadratic time would take hours
def test_long_hostile_text_costs_about_linear_time(text):
    strings = [f"<|dummy_{i}|>" for i in range(100)] + THINK + ["<<<<<<<<b"]
    pieces = break_up(text, strings)
    assert "".join(pieces) == text


def test_segments_are_values():
    assert TextSegment("a", special=True) == TextSegment("a", special=True) != TextSegment("a", special=False)
    assert TokenSegment((1, 2)).token_ids == (1, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        TextSegment("a", special=True).text = "b"
