"""Beam search against a search in plain Python, and against all sequences there are."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.inference.beam_search import Beams, search
from m5jax.inference.decoding import Sampling, Trie, write
from tests.models.tiny import decoder, encoder_decoder, row_of, segments_of

EOS, LENGTH, VOCAB = 1, 6, 40
MODELS = {"encoder-decoder": encoder_decoder(), "decoder": decoder()}


def batch(lengths, width=8):
    rows = [row_of(segments_of([length], seed=length), width)[:2] for length in lengths]
    return tuple(jnp.concatenate(side) for side in zip(*rows, strict=True))


def found(name, lengths, beams, allowed=None, length=LENGTH, trie=None):
    model, parameters = MODELS[name]
    allowed = jnp.ones(VOCAB, bool) if allowed is None else allowed

    @jax.jit
    def run(parameters, inputs, segment_ids):
        return search(model.bind(parameters), inputs, segment_ids, length, EOS, allowed, beams, trie)

    return np.asarray(run(parameters, *batch(lengths)))


def log_probabilities(name, lengths):
    """Returns a function to the log-probabilities of one row's next token after what was written."""
    model, parameters = MODELS[name]
    module = model.bind(parameters)
    first, cache = jax.jit(lambda: module.start(*batch(lengths), LENGTH))()
    step = jax.jit(lambda token, position, cache: module.step(token, position, cache))
    known = {(): cache}

    def after(tokens):
        last = first if not tokens else jnp.asarray(tokens[-1:], jnp.int32)
        logits, known[tokens] = step(last, jnp.array(len(tokens)), known[tokens[:-1]])
        return np.asarray(jax.nn.log_softmax(logits[0]), np.float64)

    return after


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("name", MODELS)
def test_with_enough_beams_the_best_of_all_sequences_is_found(name, penalty):
    tokens, length = (EOS, 7, 11, 30), 4
    after = log_probabilities(name, (5,))
    scored = {}
    for count in range(1, length + 1):
        for body in itertools.product(tokens[1:], repeat=count - 1):
            for last in (EOS,) if count < length else tokens:
                line = (*body, last)
                score = sum(after(line[:index])[token] for index, token in enumerate(line))
                scored[line] = score / count**penalty
    expected = max(scored, key=scored.get)
    allowed = jnp.zeros(VOCAB, bool).at[jnp.asarray(tokens)].set(True)
    line = found(name, (5,), Beams(64, penalty), allowed, length)[0].tolist()
    assert line == [*expected, *[0] * (length - len(expected))]


def naive_search(after, beams, allowed):
    """One row; lists instead of arrays. Stops only at the end."""
    running, ended = [(0.0, ())], []
    for length in range(1, LENGTH + 1):
        options = [(score + after(line)[token], (*line, token)) for score, line in running for token in allowed]
        options = sorted(options, reverse=True)[: 2 * beams.size]
        over = [line[-1] == EOS or length == LENGTH for _, line in options]
        ended += [
            (score / length**beams.length_penalty, line)
            for (score, line), ends in list(zip(options, over, strict=True))[: beams.size]
            if ends
        ]
        running = [option for option, ends in zip(options, over, strict=True) if not ends][: beams.size]
    return max(ended)[1]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("name", MODELS)
def test_few_beams_keep_what_a_search_in_lists_keeps(name, penalty):
    allowed = range(1, VOCAB)
    lines = found(name, (5, 8, 2), Beams(3, penalty), jnp.arange(VOCAB) > 0)
    for row, length in enumerate((5, 8, 2)):
        after = log_probabilities(name, (length,))
        memory = {}

        def remembered(line, after=after, memory=memory):
            if line not in memory:
                memory[line] = after(line)
            return memory[line]

        expected = naive_search(remembered, Beams(3, penalty), allowed)
        assert lines[row].tolist() == [*expected, *[0] * (LENGTH - len(expected))]


@pytest.mark.parametrize("name", MODELS)
def test_one_beam_is_greedy_decoding(name):
    model, parameters = MODELS[name]
    everything = jnp.ones(VOCAB, bool)
    greedy = write(model.bind(parameters), *batch((5, 8, 2)), LENGTH, EOS, everything, jax.random.key(0), Sampling())
    np.testing.assert_array_equal(found(name, (5, 8, 2), Beams(1, 0.0)), greedy)


def test_beams_stay_within_a_trie_and_padding_finds_nothing():
    labels = [[5, 6, EOS], [5, 9, 4, EOS], [12, EOS]]
    model, parameters = MODELS["encoder-decoder"]
    inputs, segment_ids = (jnp.pad(x, [(0, 1), (0, 0)]) for x in batch((5, 8)))
    lines = search(
        model.bind(parameters),
        inputs,
        segment_ids,
        LENGTH,
        EOS,
        jnp.ones(VOCAB, bool),
        Beams(4, 0.0),
        Trie.of(labels),
    )
    for row, length in enumerate((5, 8)):
        after = log_probabilities("encoder-decoder", (length,))
        scores = []
        for label in labels:
            known = [after(tuple(label[:index]))[token] for index, token in enumerate(label)]
            scores.append(math.fsum(known))
        best = labels[int(np.argmax(scores))]
        assert lines[row].tolist() == [*best, *[0] * (LENGTH - len(best))]
    assert not lines[2].any()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"size": 0}, "the number of beams is 0"),
        ({"length_penalty": -1.0}, "the length penalty is -1.0; allowed: 0 to 10"),
    ],
)
def test_an_impossible_search_is_refused(setting, message):
    with pytest.raises(UserError, match=message):
        Beams(**setting)
