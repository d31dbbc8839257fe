"""Writes the catalog and its planted truth as JSON lines."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

from m5jax.data.cache import cache_directory
from m5jax.data.embedded_catalog.draw import Draw
from m5jax.data.embedded_catalog.languages import LOCALES
from m5jax.data.embedded_catalog.listings import listing
from m5jax.data.embedded_catalog.products import draw_products
from m5jax.data.embedded_catalog.requests import sessions, utterances
from m5jax.data.embedded_catalog.truth import (
    also_bought_pairs,
    duplicate_pairs,
    near_duplicate_pairs,
    queries_and_clicks,
)
from m5jax.errors import UserError

VERSION = 3
MAXIMUM_PRODUCTS_PER_LOCALE = 100_000
FILES = ("products", "duplicates", "near_duplicates", "queries", "clicks", "also_bought", "sessions", "utterances")


def write_embedded_catalog(directory: str | Path, seed: int = 0, products_per_locale: int = 2000) -> dict[str, Path]:
    """Writes `<directory>/<name>.jsonl` for each of FILES and returns the paths by name; equal seeds, equal bytes.

    * products: fields of a ProductRecord plus `product_key` (one product in all locales) and `family` (variants that
      differ in one attribute; use it as split key, so that near-duplicates do not leak over a split).
    * duplicates: `left`, `right` (record ids), `label` 1. near_duplicates: the same with `attribute` and `label` 0.
    * queries: `query_id`, `query`, `language`, `product_id`, `grade` (exact, substitute, complement, irrelevant).
    * clicks: `query_id`, `query`, `language`, `session`, `product_id`, `position` (from 1), `clicked` (0 or 1), with
      P(click) = attraction of the grade / position^0.8, a position-based click model.
    * also_bought: `left`, `right`, `language`; the types of the two are complementary.
    * sessions: `language`, `queries`; the last is for what goes with the others.
    * utterances: `language`, `tokens`, `tags` (BIO), `intent`.

    Raises:
        UserError: a number of products that is not allowed, or a directory that cannot be written.
    """
    if not 1 <= products_per_locale <= MAXIMUM_PRODUCTS_PER_LOCALE:
        raise UserError(f"products_per_locale is {products_per_locale}, allowed: 1 to {MAXIMUM_PRODUCTS_PER_LOCALE}")
    directory = Path(directory)
    paths = {name: directory / f"{name}.jsonl" for name in FILES}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, rows in _rows(seed, products_per_locale).items():
            _write_lines(paths[name], rows)
    except OSError as error:
        raise UserError(f"cannot write {directory}: {error.strerror or error}") from error
    return paths


def embedded_catalog_directory() -> Path:
    """Returns the directory of the default catalog in the cache, written by the first call that needs it.

    Raises:
        UserError: the cache directory cannot be written.
    """
    directory = cache_directory() / f"embedded_catalog-{VERSION}"
    if directory.is_dir():
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".embedded_catalog.", dir=directory.parent) as temporary:
            write_embedded_catalog(Path(temporary) / "catalog")
            # Another process may have been first; its catalog is the same, byte for byte.
            if not directory.is_dir():
                (Path(temporary) / "catalog").rename(directory)
    except OSError as error:
        if not directory.is_dir():
            raise UserError(f"cannot write {directory}: {error.strerror or error}") from error
    return directory


def _rows(seed: int, products_per_locale: int) -> dict[str, Iterable[dict[str, object]]]:
    draw = Draw(seed)
    products = draw_products(draw, products_per_locale)
    listings = [listing(draw, product, locale) for product in products for locale in product.locales]
    queries: list[dict[str, object]] = []
    clicks: list[dict[str, object]] = []
    also_bought: list[dict[str, object]] = []
    for locale in range(len(LOCALES)):
        more_queries, more_clicks = queries_and_clicks(draw, products, locale, max(1, products_per_locale // 2))
        queries += more_queries
        clicks += more_clicks
        also_bought += also_bought_pairs(draw, products, locale)
    shuffled = draw.shuffled(listings)
    locales = range(len(LOCALES))
    return {
        "products": shuffled,
        "duplicates": duplicate_pairs(products),
        "near_duplicates": near_duplicate_pairs(products),
        "queries": queries,
        "clicks": clicks,
        "also_bought": also_bought,
        "sessions": [row for locale in locales for row in sessions(draw, products, locale, products_per_locale)],
        "utterances": [row for locale in locales for row in utterances(draw, products, locale, products_per_locale)],
    }


def _write_lines(path: Path, rows: Iterable[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
