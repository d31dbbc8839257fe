import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from m5jax.data.attributes import AttributeFormat
from m5jax.data.records import parse_record
from m5jax.data.serialize import serialize_product
from m5jax.errors import UserError
from m5jax.inference.embed_file import embed_file
from partitioning import PartitioningError


def write_products(path, count=150, **changes):
    rows = [
        {"id": f"p{index}", "language": "en", "title": f"red lamp {index}", "attributes": {"color": "red"}, **changes}
        for index in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows


def test_a_row_a_record_in_order(tmp_path, embedder):
    rows = write_products(tmp_path / "products.jsonl")
    assert embed_file(embedder, str(tmp_path / "products.jsonl"), tmp_path / "out.parquet", batch_size=8) == 150
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["id"].to_pylist() == [row["id"] for row in rows]
    assert table["title"].to_pylist() == [row["title"] for row in rows]
    texts = [serialize_product(parse_record(row, "product")) for row in rows]
    np.testing.assert_allclose(np.stack(table["embedding"].to_numpy()), embedder.embed(texts, 64), atol=2e-5)


def test_products_are_written_as_the_run_read_them(tmp_path, embedder):
    rows = write_products(tmp_path / "products.jsonl", attributes={"weight": "1 kg"})
    typed = dataclasses.replace(embedder, attributes=AttributeFormat("typed"))
    embed_file(typed, str(tmp_path / "products.jsonl"), tmp_path / "out.parquet", batch_size=8)
    texts = [f"<title> {row['title']}<attribute> weight<field_25> 1000 g" for row in rows]
    found = np.stack(pq.read_table(tmp_path / "out.parquet")["embedding"].to_numpy())
    np.testing.assert_allclose(found, embedder.embed(texts, 64), atol=2e-5)


def test_columns_of_another_name_and_constants(tmp_path, embedder):
    (tmp_path / "offers.csv").write_text("sku,name\n1,red lamp\n2,blue chair\n", encoding="utf-8")
    count = embed_file(
        embedder,
        str(tmp_path / "offers.csv"),
        tmp_path / "out.parquet",
        column_mapping={"id": "sku", "title": "name"},
        defaults={"language": "de"},
        batch_size=8,
    )
    assert count == 2
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["id"].to_pylist() == ["1", "2"]
    assert table["language"].to_pylist() == ["de", "de"]


def test_text_records_are_named_by_their_line(tmp_path, embedder):
    (tmp_path / "text.jsonl").write_text('{"text": "red lamp", "lang": "en"}\n', encoding="utf-8")
    embed_file(embedder, str(tmp_path / "text.jsonl"), tmp_path / "out.parquet", kind="text", batch_size=8)
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist()[0].endswith("text.jsonl:1")


def test_output_is_never_overwritten(tmp_path, embedder):
    write_products(tmp_path / "products.jsonl")
    (tmp_path / "out.parquet").write_text("precious", encoding="utf-8")
    with pytest.raises(UserError, match="exists"):
        embed_file(embedder, str(tmp_path / "products.jsonl"), tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").read_text(encoding="utf-8") == "precious"


def test_missing_column_is_named_and_nothing_is_written(tmp_path, embedder):
    (tmp_path / "offers.csv").write_text("sku,language,name\n1,en,red lamp\n", encoding="utf-8")
    with pytest.raises(UserError, match="title"):
        embed_file(embedder, str(tmp_path / "offers.csv"), tmp_path / "out.parquet", column_mapping={"id": "sku"})
    assert not list(tmp_path.glob("out.parquet*"))


def test_too_many_bad_records_stop_it(tmp_path, embedder):
    rows = write_products(tmp_path / "products.jsonl", count=120)
    lines = [json.dumps(row) if index % 4 else "[]" for index, row in enumerate(rows)]
    (tmp_path / "products.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match="are bad"):
        embed_file(embedder, str(tmp_path / "products.jsonl"), tmp_path / "out.parquet", batch_size=8)
    assert not (tmp_path / "out.parquet").exists()


def test_a_few_bad_records_are_skipped_and_written_down(tmp_path, embedder):
    rows = write_products(tmp_path / "products.jsonl", count=300)
    lines = [json.dumps(row) for row in rows]
    lines[17] = '{"id": "x", "language": "en"}'
    (tmp_path / "products.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert embed_file(embedder, str(tmp_path / "products.jsonl"), tmp_path / "out.parquet", batch_size=64) == 299
    assert "title" in (tmp_path / "out.parquet.rejected.jsonl").read_text(encoding="utf-8")


def test_repeated_ids_are_rejected(tmp_path, embedder):
    rows = write_products(tmp_path / "products.jsonl", count=300)
    lines = [json.dumps(row) for row in [*rows, rows[7]]]
    (tmp_path / "products.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert embed_file(embedder, str(tmp_path / "products.jsonl"), tmp_path / "out.parquet", batch_size=64) == 300
    assert "came before" in (tmp_path / "out.parquet.rejected.jsonl").read_text(encoding="utf-8")


def test_batch_that_the_mesh_does_not_divide(tmp_path, embedder):
    write_products(tmp_path / "products.jsonl")
    with pytest.raises(PartitioningError, match="not divisible by 8"):
        embed_file(embedder, str(tmp_path / "products.jsonl"), tmp_path / "out.parquet", batch_size=100)


def test_unwritable_output(tmp_path, embedder):
    write_products(tmp_path / "products.jsonl")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write"):
        embed_file(embedder, str(tmp_path / "products.jsonl"), tmp_path / "file" / "out.parquet")
