"""Counts of tokens against a naive count; when they are made anew, and what mixtures make of them."""

import json
from pathlib import Path

import pytest
import seqio
import tensorflow as tf

from m5jax.data import token_counts
from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.inspect_task import _rates, show_task
from m5jax.data.mixing import Proportional, UniMax, mixing_rates
from m5jax.data.mixtures import add_mixture, find_tasks, mixture_rates, unit_count
from m5jax.data.records import TextRecord
from m5jax.data.serialize import serialize_text
from m5jax.data.task_builders import OUTPUT_FEATURES, add_pair_task
from m5jax.data.token_counts import count_tokens
from m5jax.data.vocabulary import current_vocabulary, set_current_vocabulary, train_vocabulary
from m5jax.errors import UserError
from tests.data.conftest import TinyCorpus


def naive(tiny: TinyCorpus, language: str, split: str = "train") -> int:
    texts = [serialize_text(TextRecord(text, language)) for text in tiny.texts[language][split]]
    return sum(len(current_vocabulary().encode([text])[0]) + 1 for text in texts)


def test_counts_are_those_of_a_naive_count_and_set_the_rates(tiny: TinyCorpus) -> None:
    tokens = {f"tiny_{language}_mlm": naive(tiny, language) for language in ("en", "de")}
    assert {name: unit_count(find_tasks(name)[0], "train", "tokens") for name in tokens} == tokens
    assert unit_count(find_tasks("tiny_de_ul2")[0], "validation", "tokens") == naive(tiny, "de", "validation")
    rates = mixture_rates("tiny_mlm", Proportional(0.5, unit="tokens"))
    assert rates == pytest.approx(mixing_rates(tokens, 0.5))
    # Less than the data: alike. More: each as often as it may be.
    assert mixture_rates("tiny_mlm", UniMax(100, unit="tokens")) == pytest.approx(dict.fromkeys(tokens, 0.5))
    whole = mixture_rates("tiny_mlm", UniMax(10**9, 2.0, unit="tokens"))
    assert whole == pytest.approx(mixing_rates(tokens, 1.0))


def test_the_count_is_kept_and_another_vocabulary_counts_anew(
    tiny: TinyCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task,) = find_tasks("tiny_en_mlm")
    before = count_tokens(task, "train", 240)
    with monkeypatch.context() as context:
        context.setattr(token_counts, "_counted", lambda *_: pytest.fail("counted again"))
        assert count_tokens(task, "train", 240) == before
        # All objectives of a language share a count: their records are serialized alike.
        assert count_tokens(find_tasks("tiny_en_ul2")[0], "train", 240) == before
    texts = {language: tiny.texts[language]["train"] for language in tiny.texts}
    train_vocabulary(texts, {name: len(lines) for name, lines in texts.items()}, size=500, output=tmp_path / "v.model")
    set_current_vocabulary(tmp_path / "v.model")
    smaller = count_tokens(task, "train", 240)
    assert smaller.tokens == naive(tiny, "en") > before.tokens


def test_inputs_and_targets_of_pairs_count_as_they_are_serialized(tiny: TinyCorpus, tmp_path: Path) -> None:
    rows = [{"id": str(k), "language": "en", "title": f"Mug {k}", "category": "Cups" * (k % 2)} for k in range(20)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def corpus() -> Corpus:
        return ingest_corpus("p", {"train": tmp_path / "p.jsonl"}, validation_fraction=0.0, cache_dir=tmp_path)

    add_pair_task("counted_pairs", corpus, "en", lambda record: (record.title, "Cups") if record.category else None)
    pairs = [text for k in range(1, 20, 2) for text in (f"Mug {k}", "Cups")]
    assert unit_count(find_tasks("counted_pairs")[0], "train", "tokens") == sum(
        len(tokens) + 1 for tokens in current_vocabulary().encode(pairs)
    )


class Unshuffled(seqio.FunctionDataSource):
    """A source that is not ingested, as `TfdsTextSource`."""

    language, identity = "en", "unshuffled/1.0.0"


def test_what_is_not_ingested_is_estimated_with_its_error(
    tiny: TinyCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = tiny.texts["en"]["train"]
    monkeypatch.setenv("M5JAX_CACHE", str(tmp_path))
    monkeypatch.setattr(token_counts, "SAMPLE", 120)

    def read(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices({"inputs": texts})

    seqio.TaskRegistry.add(
        "unshuffled",
        source=Unshuffled(read, splits=["train"], num_input_examples={"train": len(texts)}),
        preprocessors=[seqio.preprocessors.tokenize],
        output_features=OUTPUT_FEATURES,
    )
    (task,) = find_tasks("unshuffled")
    estimate = count_tokens(task, "train", len(texts))
    assert 0.0 < estimate.relative_error < 0.1
    assert abs(estimate.tokens / naive(tiny, "en") - 1) < 4 * estimate.relative_error
    assert list(tmp_path.glob("token_counts/*.json"))
    add_mixture("unshuffled_and_tiny", ["unshuffled", "tiny_de_mlm"])
    shown = _rates("unshuffled_and_tiny", find_tasks("unshuffled_and_tiny"), Proportional(unit="tokens"))
    assert f"{estimate.tokens:,} tokens (estimated, standard error {estimate.relative_error:.1%})" in shown
    # As many as there are: exact.
    assert count_tokens(task, "train", 120).relative_error == 0.0


def test_showing_a_mixture_shows_the_counts_behind_its_rates(tiny: TinyCorpus) -> None:
    shown = show_task("tiny_mlm", examples=1, vocabulary=tiny.vocabulary, unit="tokens")
    rates = mixture_rates("tiny_mlm", Proportional(unit="tokens"))
    (line,) = [line for line in shown.splitlines() if line.strip().startswith("tiny_de_mlm")]
    expected = f"tiny_de_mlm 60 records {naive(tiny, 'de'):,} tokens p = {rates['tiny_de_mlm']:.4f}"
    assert line.split() == expected.split()
    assert "bytes  p = " in show_task("tiny_mlm", examples=1, vocabulary=tiny.vocabulary, unit="bytes")
    with pytest.raises(UserError, match="unknown unit of mixing 'words'"):
        show_task("tiny_mlm", vocabulary=tiny.vocabulary, unit="words")


def test_what_cannot_be_counted_is_one_line(tiny: TinyCorpus) -> None:
    with pytest.raises(UserError, match="no data in language 'fr'"):
        mixture_rates("tiny_french_mlm", Proportional(unit="tokens"))
    source = seqio.FunctionDataSource(
        lambda split, shuffle_files: None, splits=["train"], num_input_examples={"train": 3}
    )
    foreign = seqio.Task("foreign", source=source, preprocessors=[], output_features={})
    with pytest.raises(UserError, match="foreign reads no corpus, so its tokens are not known"):
        unit_count(foreign, "train", "tokens")
    bare = seqio.Task("bare", source=find_tasks("tiny_en_mlm")[0].source, preprocessors=[], output_features={})
    with pytest.raises(UserError, match="bare makes no inputs to count the tokens of"):
        unit_count(bare, "train", "tokens")
    (task,) = find_tasks("tiny_en_span_corruption")
    count_tokens(task, "train", 240)
    for path in (task.source.corpus().directory / "token_counts").glob("*.json"):
        path.write_text("{}")
    with pytest.raises(UserError, match="is no count of tokens .*; delete it"):
        count_tokens(task, "train", 240)
    for path in (task.source.corpus().directory / "token_counts").glob("*.json"):
        path.unlink()
