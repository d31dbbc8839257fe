import dataclasses
from pathlib import Path

from m5jax.configuration.evaluate_fine_tuned import EvaluationSettings
from m5jax.configuration.fine_tuned_run import load_fine_tuned
from m5jax.configuration.search_sides import SearchSides
from m5jax.data.attributes import SEPARATORS, AttributeFormat
from tests.configuration.search_runs import ngrams, texts_of, write_files


def test_models_read_the_same_queries_and_documents_each_in_its_own_way(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    settings, plain = EvaluationSettings((files["test"],), "test"), AttributeFormat(style="plain")
    tuned = load_fine_tuned(ngrams(tmp_path / "run", files, 4))
    sides = [
        SearchSides(dataclasses.replace(tuned, attributes=attributes), settings, (files["products"],), tmp_path / "x")
        for attributes in (SEPARATORS, plain)
    ]
    assert sides[0].data.documents == sides[1].data.documents
    assert sides[0].data.fingerprint("all") == sides[1].data.fingerprint("all")
    rows = [*texts_of(files, "test"), *texts_of(files, "products")]
    own = {row["right"]: row["right"].replace("<attribute>", " ").replace("<value>", "") for row in rows}
    own = {text: " ".join(other.split()) for text, other in own.items()}
    queries, documents = sides[0].texts(plain)
    assert documents == [own[text] for text in sides[0].data.documents]
    assert tuple(queries) == sides[0].data.queries
    assert sides[0].texts(SEPARATORS) == ([*sides[0].data.queries], [*sides[0].data.documents])
    judged = sides[0].judged(plain)
    pairs = [(queries[query], documents[document]) for query, document in sides[0].data.judged]
    assert [pair.texts for pair in judged] == pairs
