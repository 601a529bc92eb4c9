"""Choices over few candidates are those of llama.cpp's chain over all 100,352 tokens.

The oracle is `llama_sampler_sample` with the same seed, over logits that the test writes into the context's
own buffer. Two choices count as one when their logits are equal to the bit: llama.cpp's partial sort puts
equal logits in an order that depends on what else is in the list.
"""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.random_model import VOCABULARY_TOKENS, Shape, write_checkpoint
from phi4local.convert import convert_checkpoint
from phi4local.engine.sampling import TokenChooser, filters
from phi4local.engine.sampling.candidates import SHORT_LIST, Candidates, apply_samplers, draw_from_long_list
from phi4local.engine.sampling.chain import chain_steps, remembered_tokens
from phi4local.engine.sampling.cut_chain import CutChain
from phi4local.errors import InvalidSettingError, NonFiniteLogitsError
from phi4local.native.context import ContextShape, NativeContext
from phi4local.native.llama import NativeModel
from phi4local.native.sampler import NativeSampler
from phi4local.settings import DEFAULT_SAMPLING, SamplingSettings

TOKENS = VOCABULARY_TOKENS
OFF = {"top_k": 0, "top_p": 1, "min_p": 0, "temperature": 1, "seed": 7}

EXACT = {
    "greedy": {"temperature": 0},
    "default": {"seed": 7},
    "temperature": OFF | {"temperature": 0.7},
    "top k": OFF | {"top_k": 1000},
    "top p": OFF | {"top_p": 0.9},
    "min p": OFF | {"min_p": 0.02},
    "typical": OFF | {"typical_p": 0.5},
    "top n sigma": OFF | {"top_n_sigma": 1.5},
    "xtc after min p": OFF | {"min_p": 0.02, "xtc_probability": 0.5},
    "dynamic temperature": OFF | {"top_p": 0.9, "dynamic_temperature_range": 0.6},
    "penalties": {"repeat_penalty": 1.3, "frequency_penalty": 0.2, "presence_penalty": 0.1, "seed": 7},
    "dry": OFF | {"dry_multiplier": 2.0, "dry_sequence_breakers": (), "top_p": 0.8},
    "greedy dry": {"temperature": 0, "dry_multiplier": 100.0, "dry_sequence_breakers": ()},
    "bias": OFF | {"top_p": 0.9, "logit_bias": {5: -100, 6: 8, 100_351: 20}},
    "mirostat 1": {"mirostat": 1, "temperature": 1, "seed": 7},
    "mirostat 2": {"mirostat": 2, "temperature": 1, "seed": 7},
    "everything": {
        "repeat_penalty": 1.1,
        "dry_multiplier": 0.8,
        "top_k": 100,
        "typical_p": 0.95,
        "xtc_probability": 0.3,
        "temperature": 1.2,
        "dynamic_temperature_range": 0.3,
        "seed": 7,
    },
}
"""Settings whose lists llama.cpp keeps in the order that numpy keeps them in, or that end up short."""


@pytest.fixture(scope="module")
def context(tmp_path_factory, native_library):
    """A context over 100,352 tokens, after one step."""
    folder = tmp_path_factory.mktemp("wide")
    write_checkpoint(folder / "checkpoint", Shape(width=64, feed_forward=64, layers=1, heads=2, kv_heads=1))
    convert_checkpoint(folder / "checkpoint", folder / "wide.gguf", "Q8_0")
    model = NativeModel(folder / "wide.gguf")
    context = NativeContext(model, ContextShape(context_tokens=32, batch_tokens=4, threads=1))
    context.model = model
    context.decode((5, 6), 0)
    yield context
    context.close()
    model.close()


def write_logits(context, row):
    row = np.ascontiguousarray(row, np.float32)  # kept alive while its address is used
    ctypes.memmove(context.logits(), row.ctypes.data, row.nbytes)


def real_row(random):
    """Logits like a language model's: the probabilities fall as a power of the rank."""
    ranks = random.permutation(TOKENS) + 1.0
    return (20 - 1.8 * np.log(ranks) + random.normal(0, 0.5, TOKENS)).astype(np.float32)


def peaked_row(random):
    row = random.normal(0, 2, TOKENS).astype(np.float32)
    row[random.integers(0, TOKENS, 50)] += random.normal(12, 2, 50).astype(np.float32)
    return row


def flat_row(random):
    return random.normal(0, 2, TOKENS).astype(np.float32)


def both_chains(context, sampling):
    filled = SamplingSettings(**sampling).filled_from(DEFAULT_SAMPLING)
    steps = chain_steps(filled, vocabulary_tokens=TOKENS)
    remembered = remembered_tokens(filled)
    return NativeSampler(steps, context.model), CutChain(steps, context.model, remembered=remembered)


def assert_same_choices(context, sampling, rows, *, seen=()):
    whole, cut = both_chains(context, sampling)
    try:
        for token in seen:
            whole.accept(token)
            cut.accept(token)
        for row in rows:
            write_logits(context, row)
            expected, chosen = whole.sample(context), cut.sample(context)
            assert chosen == expected or row[chosen] == row[expected]
    finally:
        whole.close()
        cut.close()


@pytest.mark.parametrize("make_row", [real_row, peaked_row])
@pytest.mark.parametrize("name", EXACT)
def test_choices_are_those_of_the_whole_chain(context, name, make_row):
    random = np.random.default_rng(1)
    row = make_row(random)
    best = np.argsort(-row)[:3].tolist()  # tokens that matter have been seen, and a phrase repeats
    rows = [row] * 3 + [make_row(random) for _ in range(5)]
    assert_same_choices(context, EXACT[name], rows, seen=[*best, *best, 9, 10, *best, 9])


@pytest.mark.parametrize(
    "sampling",
    [
        OFF,
        OFF | {"min_p": 0.0001},
        OFF | {"top_n_sigma": 3.0},
        OFF | {"temperature": 50.0},
        OFF | {"logit_bias": dict.fromkeys(range(1000), -100)},
        {"mirostat": 2, "temperature": 1, "seed": 3},
        {"mirostat": 1, "temperature": 1, "seed": 3},
    ],
)
def test_long_lists_in_vocabulary_order_give_the_same_choices_too(context, sampling):
    random = np.random.default_rng(2)
    assert_same_choices(context, sampling, [flat_row(random) for _ in range(6)])


def test_a_long_draw_takes_the_token_that_dist_takes():
    random = np.random.default_rng(3)
    whole, ours = NativeSampler([("dist", 11)]), NativeSampler([("dist", 11)])
    for count in (SHORT_LIST + 1, 2 * SHORT_LIST + 33, 50_000):
        for _ in range(10):
            candidates = Candidates(random.normal(0, 3, count).astype(np.float32))
            assert draw_from_long_list(candidates, ours) == apply_samplers(candidates, [whole]).chosen


def kept_by_llama(row, step):
    """Return the ids that one filter of llama.cpp keeps of a whole row."""
    sampler = NativeSampler([step])
    judged = apply_samplers(Candidates(row), [sampler])
    sampler.close()
    kept = judged.records[: judged._array.size]
    return set(kept["id"][kept["logit"] > -np.inf].tolist())


@pytest.mark.parametrize("make_row", [flat_row, real_row, peaked_row])
@pytest.mark.parametrize(
    "step",
    [
        ("top_p", 0.5, 0),
        ("top_p", 0.95, 0),
        ("top_p", 0.999, 0),
        ("typical", 0.2, 0),
        ("typical", 0.9, 0),
        ("top_n_sigma", 0.5),
        ("top_n_sigma", 2.5),
        ("min_p", 0.3, 0),
        ("min_p", 0.001, 0),
        ("top_k", 5000),
        ("top_k", 60_000),
    ],
)
def test_a_filter_keeps_what_llama_cpp_keeps_up_to_the_rounding_of_its_sums(step, make_row):
    """llama.cpp adds 100,352 floats one after the other; that moves the end of a set, by up to 4e-4 here."""
    row = make_row(np.random.default_rng(4))
    name, *arguments = step
    candidates, done = getattr(filters, name)(Candidates(row), *arguments)
    ids = set(candidates.ids.tolist())
    expected = kept_by_llama(row, step)
    weights = np.exp(row.astype(np.float64) - row.max())
    different = sorted(expected - ids if not done else expected ^ ids)
    assert weights[different].sum() <= 1e-3 * weights.sum()
    exact = name in ("top_k", "min_p")
    assert not different or not exact


def test_top_p_keeps_the_smallest_set_in_exact_arithmetic():
    random = np.random.default_rng(5)
    for make_row in (flat_row, real_row, peaked_row):
        row = make_row(random)
        for p in (0.1, 0.9, 0.99):
            candidates, _ = filters.top_p(Candidates(row), p, 0)
            weights = np.exp(row.astype(np.float64) - row.max())
            shares = np.sort(weights / weights.sum())[::-1].cumsum()
            assert abs(len(candidates.logits) - (np.searchsorted(shares, p) + 1)) <= 1 + 1e-6 * TOKENS
            assert candidates.logits.min() >= np.sort(row)[::-1][len(candidates.logits) - 1]


def test_typical_keeps_the_smallest_set_in_exact_arithmetic():
    random = np.random.default_rng(5)
    for make_row in (flat_row, real_row, peaked_row):
        row = make_row(random)
        surprise = np.logaddexp.reduce(row.astype(np.float64)) - row
        shares = np.exp(-surprise)
        distance = np.abs(surprise - shares @ surprise)
        order = np.argsort(distance)
        for p in (0.1, 0.9):
            candidates, _ = filters.typical(Candidates(row), p, 0)
            count = len(candidates.logits)
            assert abs(count - (np.searchsorted(shares[order].cumsum(), p) + 1)) <= 1 + 1e-6 * TOKENS
            assert distance[candidates.ids].max() <= distance[order[count - 1]] + 1e-5


def test_xtc_drops_all_but_the_last_likely_token_of_a_whole_vocabulary():
    row = np.full(TOKENS, -5.0, np.float32)
    row[[3, 70_000, 9]] = [10.0, 9.5, 9.0]
    sampler = NativeSampler([("xtc", 1.0, 0.1, 0, 1)])
    candidates, _ = filters.xtc(Candidates(row), 1.0, 0.1, 0, 1, sampler)
    assert set(range(TOKENS)) - set(candidates.ids.tolist()) == {3, 70_000}
    assert kept_by_llama(row, ("xtc", 1.0, 0.1, 0, 1)) != set(range(TOKENS))


def test_the_dynamic_temperature_of_a_whole_vocabulary_is_llama_cpps():
    row = flat_row(np.random.default_rng(6))
    candidates, _ = filters.temp_ext(Candidates(row), 1.0, 0.7, 1.3)
    sampler = NativeSampler([("temp_ext", 1.0, 0.7, 1.3)])
    judged = apply_samplers(Candidates(row), [sampler]).records
    expected = np.empty(TOKENS, np.float32)
    expected[judged["id"]] = judged["logit"]
    np.testing.assert_allclose(candidates.logits, expected, rtol=1e-4)
    surprise = np.logaddexp.reduce(row.astype(np.float64)) - row
    uncertainty = np.exp(-surprise) @ surprise / np.log(TOKENS)
    exact = row / (0.3 + 1.4 * uncertainty**1.3)
    np.testing.assert_allclose(candidates.logits, exact, rtol=1e-6)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([0.5, 3.0, 8.0]),
    sampling=st.fixed_dictionaries(
        {"seed": st.integers(0, 1000), "temperature": st.floats(0.2, 2)},
        optional={
            "top_k": st.integers(1, 300),
            "top_p": st.floats(0.05, 0.99),
            "min_p": st.floats(0.01, 0.5),
            "xtc_probability": st.floats(0, 1),
            "dynamic_temperature_range": st.floats(0, 1),
            "repeat_penalty": st.floats(0.5, 2),
            "frequency_penalty": st.floats(-1, 1),
            "penalty_last_tokens": st.integers(1, 20),
            "dry_multiplier": st.floats(0.1, 3),
            "logit_bias": st.dictionaries(st.integers(0, TOKENS - 1), st.floats(-99, 99), max_size=5),
        },
    ),
)
def test_any_settings_choose_what_the_whole_chain_chooses(context, seed, spread, sampling):
    random = np.random.default_rng(seed)
    row = (random.exponential(spread, TOKENS) - 5).astype(np.float32)
    seen = np.argsort(-row)[random.integers(0, 8, 24)].tolist()
    assert_same_choices(context, sampling, [row, row], seen=seen)


@pytest.mark.parametrize(
    "sampling", [{"temperature": 0}, OFF, OFF | {"top_p": 0.5}, {"mirostat": 2, "temperature": 1}]
)
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_reported(context, sampling, poison):
    filled = SamplingSettings(**sampling).filled_from(DEFAULT_SAMPLING)
    chooser = TokenChooser(context.model, filled, (1, 2, 3))
    row = flat_row(np.random.default_rng(7))
    row[500] = poison
    write_logits(context, row)
    with pytest.raises(NonFiniteLogitsError) as caught:
        chooser.choose(context)
    chooser.close()
    assert caught.value.position == 4


def test_requests_with_the_same_penalties_do_not_share_what_they_saw(context):
    """DRY is prepared once for each list of breakers; its memory must not be."""
    sampling = EXACT["greedy dry"] | {"dry_sequence_breakers": ("x",)}
    random = np.random.default_rng(10)
    row = real_row(random)
    best = np.argsort(-row)[:3].tolist()
    assert_same_choices(context, sampling, [row] * 3, seen=[*best, *best, 9, *best[:2]])
    assert_same_choices(context, sampling, [row] * 3, seen=())
    many = [EXACT["greedy dry"] | {"dry_last_tokens": number} for number in range(30, 42)]
    for settings_of_request in (*many, *many):  # more than are kept prepared
        assert_same_choices(context, settings_of_request, [row], seen=best * 3)


@pytest.mark.parametrize(
    "extreme",
    [
        {"temperature": 1e-6},
        {"temperature": 100},
        {"top_p": 0},
        {"top_p": 1e-50},
        {"top_p": 1 - 1e-9},
        {"typical_p": 0},
        {"min_p": 1},
        {"min_p": 1e-300},
        {"top_k": 1},
        {"top_k": 2**31 - 1},
        {"top_n_sigma": 100},
        {"top_n_sigma": 1e-9},
        {"xtc_probability": 1, "xtc_threshold": 0.001},
        {"dynamic_temperature_range": 100, "dynamic_temperature_exponent": 10},
        {"mirostat": 1, "mirostat_tau": 0},
        {"mirostat": 1, "mirostat_tau": 100, "mirostat_eta": 1},
        {"mirostat": 2, "mirostat_tau": 100, "mirostat_eta": 1},
    ],
)
def test_the_ends_of_every_range_choose_a_token(context, extreme):
    random = np.random.default_rng(11)
    spike = np.full(TOKENS, -1e4, np.float32)
    spike[[3, 4]] = 1e3, 999
    for row in (flat_row(random), real_row(random), spike):
        sampling = SamplingSettings(**(OFF | extreme)).filled_from(DEFAULT_SAMPLING)
        chooser = TokenChooser(context.model, sampling, ())
        write_logits(context, row)
        assert all(0 <= chooser.choose(context).token < TOKENS for _ in range(12))
        chooser.close()


def test_all_equal_logits_are_a_choice_too(context):
    for sampling in EXACT.values():
        filled = SamplingSettings(**sampling).filled_from(DEFAULT_SAMPLING)
        chooser = TokenChooser(context.model, filled, (1, 2, 3))
        write_logits(context, np.zeros(TOKENS))
        assert 0 <= chooser.choose(context).token < TOKENS
        chooser.close()


def test_a_forbidden_token_is_never_chosen_and_a_wanted_one_is(context):
    row = flat_row(np.random.default_rng(8))
    best = int(row.argmax())
    filters_alone = (
        {"top_p": 0.95},
        {"top_k": 20_000},
        {"typical_p": 0.9},
        {"top_n_sigma": 1.0},
        {"min_p": 1e-4},
    )
    others = ({"xtc_probability": 1.0}, {"dynamic_temperature_range": 0.5}, {"mirostat": 1}, {"mirostat": 2})
    for sampling in (OFF, {"temperature": 0}, *(OFF | alone for alone in (*filters_alone, *others))):
        biased = SamplingSettings(**sampling, logit_bias={best: -100}).filled_from(DEFAULT_SAMPLING)
        chooser = TokenChooser(context.model, biased, ())
        write_logits(context, row)
        assert best not in {chooser.choose(context).token for _ in range(20)}
        chooser.close()
        wanted = SamplingSettings(**sampling, logit_bias={77: 100}).filled_from(DEFAULT_SAMPLING)
        chooser = TokenChooser(context.model, wanted, ())
        assert chooser.choose(context).token == 77
        chooser.close()


def test_a_bias_for_a_token_that_does_not_exist_is_refused(context):
    sampling = SamplingSettings(logit_bias={TOKENS: 1}).filled_from(DEFAULT_SAMPLING)
    with pytest.raises(InvalidSettingError, match="100,352"):
        TokenChooser(context.model, sampling, ())


def test_logprobs_are_of_the_raw_distribution_best_first(context):
    random = np.random.default_rng(9)
    row = real_row(random)
    row[[10, 20]] = row.max() + 1  # two equal ones: the lower id comes first
    write_logits(context, row)
    sampling = SamplingSettings(temperature=0, logit_bias={10: -100, 20: -100}, logprobs=3).filled_from(
        DEFAULT_SAMPLING
    )
    chooser = TokenChooser(context.model, sampling, ())
    choice = chooser.choose(context)
    chooser.close()
    exact = row.astype(np.float64)
    exact -= np.logaddexp.reduce(exact)
    third = int(np.argsort(-row, kind="stable")[2])
    assert choice.token == third
    assert choice.logprob.logprob == pytest.approx(exact[third], abs=1e-6)
    assert [token for token, _ in choice.logprob.top] == [10, 20, third]
    assert [value for _, value in choice.logprob.top] == pytest.approx(exact[[10, 20, third]], abs=1e-6)
