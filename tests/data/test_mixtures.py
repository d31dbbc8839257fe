"""Mixtures of mixtures: their rates against multiplying by hand, and UniMax against its algorithm."""

import math

import pytest
import seqio
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.mixing import Proportional, UniMax, mixing_rates
from m5jax.data.mixtures import add_mixture, find_tasks, mixture_rates, mixture_tree
from m5jax.errors import UserError
from tests.data.conftest import COUNTS, TinyCorpus

COUNTS_BY_NAME = st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 10**9), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def nested(tiny_corpus: TinyCorpus) -> str:
    """Objectives in a language, languages by their data, and one task that stands in two places."""
    for language in ("en", "de"):
        add_mixture(f"nested_{language}", {f"tiny_{language}_mlm": 3.0, f"tiny_{language}_span_corruption": 1.0})
    add_mixture("nested_languages", ["nested_en", "nested_de"])
    add_mixture("nested_top", {"nested_languages": 0.8, "tiny_de_mlm": 0.2})
    return "nested_top"


def test_rates_multiply_down_the_tree(tiny: TinyCorpus, nested: str) -> None:
    weight = {language: 2 * COUNTS[language]["train"] for language in COUNTS}
    for alpha in (0.0, 0.3, 1.0):
        share = mixing_rates(weight, alpha)
        assert mixture_rates(nested, Proportional(alpha)) == pytest.approx(
            {
                "tiny_en_mlm": 0.8 * share["en"] * 0.75,
                "tiny_en_span_corruption": 0.8 * share["en"] * 0.25,
                "tiny_de_mlm": 0.8 * share["de"] * 0.75 + 0.2,
                "tiny_de_span_corruption": 0.8 * share["de"] * 0.25,
            }
        )
    # SeqIO's own registry tells the same, by the default rule.
    mixture = seqio.MixtureRegistry.get(nested)
    assert {task.name: mixture.get_rate(task) for task in find_tasks(nested)} == pytest.approx(mixture_rates(nested))


def test_the_tree_shows_each_level(tiny: TinyCorpus, nested: str) -> None:
    lines = mixture_tree(nested)
    assert [line.split()[0] for line in lines] == [
        "nested_languages",
        "nested_en",
        "tiny_en_mlm",
        "tiny_en_span_corruption",
        "nested_de",
        "tiny_de_mlm",
        "tiny_de_span_corruption",
        "tiny_de_mlm",
    ]
    assert lines[2] == "    tiny_en_mlm  0.7500"


def test_bytes_weigh_texts_by_their_length(tiny: TinyCorpus) -> None:
    corpus = find_tasks("tiny_en_mlm")[0].source.corpus()
    bytes_of = {language: corpus.utf8_bytes(language, "train") for language in ("en", "de")}
    rates = mixture_rates("tiny_mlm", Proportional(1.0, unit="bytes"))
    assert rates["tiny_en_mlm"] == pytest.approx(bytes_of["en"] / sum(bytes_of.values()))


def naive_unimax(counts: dict[str, int], budget: float, epochs: float) -> dict[str, float]:
    """Algorithm 1 of the paper, in its own words: what is not used goes to the languages that are left."""
    left = dict(sorted(counts.items(), key=lambda item: item[1]))
    allotted: dict[str, float] = {}
    while left:
        fair = budget / len(left)
        name, count = next(iter(left.items()))
        allotted[name] = count * epochs if fair > count * epochs else fair
        budget -= allotted[name]
        del left[name]
    return {name: value / sum(allotted.values()) for name, value in allotted.items()}


@given(COUNTS_BY_NAME, st.integers(1, 10**10), st.sampled_from([0.5, 1.0, 5.0]))
def test_unimax_is_the_paper_s(counts: dict[str, int], budget: int, epochs: float) -> None:
    rates = UniMax(budget, epochs).rates(counts)
    assert list(rates) == list(counts)
    assert rates == pytest.approx(naive_unimax(counts, budget, epochs))
    assert math.fsum(rates.values()) == pytest.approx(1.0)
    drawn = min(budget, epochs * sum(counts.values()))
    assert all(rate * drawn <= epochs * counts[name] * (1 + 1e-9) for name, rate in rates.items())


@given(COUNTS_BY_NAME, st.integers(1, 10**9))
def test_a_cap_bounds_what_counts(counts: dict[str, int], cap: int) -> None:
    rates = Proportional(1.0, cap=cap).rates(counts)
    assert rates == pytest.approx(mixing_rates({name: min(count, cap) for name, count in counts.items()}, 1.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: add_mixture("broken", {"tiny_en_mlm": float("nan")}), "rate of tiny_en_mlm is nan"),
        (lambda: add_mixture("broken", {"tiny_en_mlm": -1.0}), "rate of tiny_en_mlm is -1"),
        (lambda: add_mixture("broken", {"tiny_en_mlm": 0.0}), "rates of tiny_en_mlm are all 0"),
        (lambda: add_mixture("broken", ["tiny_en_mlm", "tiny_en_mlm"]), "a member is named twice"),
        (lambda: add_mixture("broken", ["tiny_en_mln"]), "unknown task 'tiny_en_mln'; did you mean tiny_en_mlm"),
        (lambda: add_mixture("broken", []), "it has no task"),
        (lambda: add_mixture("tiny_mlm", ["tiny_en_mlm"]), "tiny_mlm is registered already"),
        (lambda: mixture_rates("tiny_french_mlm"), "no data in language 'fr'"),
        (lambda: Proportional(alpha=1.5), r"Proportional\.alpha = 1.5"),
        (lambda: Proportional(unit="words"), "unknown unit of mixing 'words'"),
        (lambda: Proportional(cap=-1), r"Proportional\.cap = -1"),
        (lambda: UniMax(0), "budget = 0"),
        (lambda: UniMax(1).rates({"en": 0}), "en has no examples"),
    ],
)
def test_impossible_mixtures_are_refused(tiny: TinyCorpus, make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()  # type: ignore[operator]


def test_rates_of_a_mixture_from_elsewhere_are_checked(tiny: TinyCorpus) -> None:
    seqio.MixtureRegistry.add("foreign", [("tiny_en_mlm", 3), ("tiny_de_mlm", 1)])
    assert mixture_rates("foreign") == {"tiny_de_mlm": 0.25, "tiny_en_mlm": 0.75}
    seqio.MixtureRegistry.add("foreign_nan", [("tiny_en_mlm", lambda task: float("nan"))])
    with pytest.raises(UserError, match="rate of tiny_en_mlm is nan"):
        mixture_rates("foreign_nan")
