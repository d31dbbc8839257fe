import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.neighbors import NearestNeighbors

from m5jax.errors import UserError
from m5jax.inference.search import EmbeddingIndex


def write(path, embeddings):
    count = len(embeddings)
    columns = {
        "id": [f"p{i}" for i in range(count)],
        "language": ["en"] * count,
        "title": [f"t{i}" for i in range(count)],
    }
    pq.write_table(pa.table({**columns, "embedding": list(embeddings)}), path)
    return EmbeddingIndex(path)


def test_nearest_equals_scikit_learn(tmp_path):
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(50, 8)).astype(np.float32) + 3.0
    index = write(tmp_path / "e.parquet", embeddings)
    query = random.normal(size=8).astype(np.float32) + 3.0
    mean = embeddings.mean(axis=0)
    reference = NearestNeighbors(metric="cosine").fit(embeddings - mean)
    distances, order = reference.kneighbors([query - mean], 5)
    hits = index.nearest(query, 5)
    assert [hit.id for hit in hits] == [f"p{i}" for i in order[0]]
    np.testing.assert_allclose([hit.similarity for hit in hits], 1 - distances[0], atol=1e-5)


def test_a_record_is_nearest_to_itself(tmp_path):
    embeddings = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    index = write(tmp_path / "e.parquet", embeddings)
    assert index.nearest(embeddings[7], 1)[0].id == "p7"


def test_wrong_files_and_sizes(tmp_path):
    (tmp_path / "not.parquet").write_text("no", encoding="utf-8")
    with pytest.raises(UserError, match="no file of embeddings"):
        EmbeddingIndex(tmp_path / "not.parquet")
    with pytest.raises(UserError, match="no file of embeddings"):
        EmbeddingIndex(tmp_path / "absent.parquet")
    index = write(tmp_path / "e.parquet", np.ones((3, 4), np.float32))
    with pytest.raises(UserError, match="not of one run"):
        index.nearest(np.ones(5, np.float32), 1)
