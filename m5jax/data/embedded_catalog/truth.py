"""What is known about the catalog because it was planted: pairs, graded queries, clicks and also-bought links."""

import itertools
from collections.abc import Iterator

from m5jax.data.embedded_catalog.draw import Draw
from m5jax.data.embedded_catalog.languages import LANGUAGES
from m5jax.data.embedded_catalog.listings import template_words
from m5jax.data.embedded_catalog.product_types import PRODUCT_TYPES
from m5jax.data.embedded_catalog.products import Product
from m5jax.data.embedded_catalog.templates import TEMPLATES

GRADES = ("exact", "substitute", "complement", "irrelevant")
_RESULTS_PER_GRADE = {"exact": 4, "substitute": 4, "complement": 3, "irrelevant": 4}
# Probability of a click on a result that is looked at.
_ATTRACTION = {"exact": 0.7, "substitute": 0.3, "complement": 0.1, "irrelevant": 0.02}
_SESSIONS_PER_QUERY = 2
_BOUGHT_TOGETHER = 0.3


def duplicate_pairs(products: list[Product]) -> Iterator[dict[str, object]]:
    """Yields the pairs of records that are one product in two locales."""
    for product in products:
        for left, right in itertools.combinations(product.locales, 2):
            yield {"left": product.record_id(left), "right": product.record_id(right), "label": 1}


def near_duplicate_pairs(products: list[Product]) -> Iterator[dict[str, object]]:
    """Yields pairs of one type, brand and series that differ in one attribute: in a locale where both are sold, else
    across locales."""
    for _, group in itertools.groupby(products, key=lambda product: product.family):
        for left, right in itertools.combinations(group, 2):
            shared = [locale for locale in left.locales if locale in right.locales]
            sides = [(locale, locale) for locale in shared] or [(left.locales[0], right.locales[0])]
            for left_locale, right_locale in sides:
                ids = {"left": left.record_id(left_locale), "right": right.record_id(right_locale)}
                yield {**ids, "attribute": left.decisive, "label": 0}


def queries_and_clicks(
    draw: Draw, products: list[Product], locale: int, count: int
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Returns the rows of `count` graded queries of a locale and of the clicks on their results."""
    sold = [product for product in products if locale in product.locales]
    by_type = _by_type(sold)
    queries: list[dict[str, object]] = []
    clicks: list[dict[str, object]] = []
    for number in range(count):
        target = draw.pick(sold)
        template = draw.pick(TEMPLATES[LANGUAGES[locale]].queries)
        query = {
            "query_id": f"{LANGUAGES[locale]}-{number:05d}",
            "query": template.format(**template_words(target, locale)),
            "language": LANGUAGES[locale],
        }
        results = _graded_results(draw, target, template, sold, by_type)
        queries += [{**query, "product_id": product.record_id(locale), "grade": grade} for product, grade in results]
        for session in range(_SESSIONS_PER_QUERY):
            for position, (product, grade) in enumerate(_ranked(draw, results), start=1):
                shown = {"session": session, "product_id": product.record_id(locale), "position": position}
                clicks.append({**query, **shown, "clicked": int(draw.chance(_ATTRACTION[grade] / position**0.8))})
    return queries, clicks


def _graded_results(
    draw: Draw, target: Product, template: str, sold: list[Product], by_type: dict[str, list[Product]]
) -> list[tuple[Product, str]]:
    matching: list[Product] = []
    other: list[Product] = []
    for product in by_type[target.type.key]:
        if product is not target:
            (matching if _meets(product, target, template) else other).append(product)
    complements = [product for key in target.type.complements for product in by_type.get(key, [])]
    unrelated = [product for product in draw.sample(sold, 20) if _is_unrelated(product, target)]
    found = {
        "exact": [target, *draw.sample(matching, _RESULTS_PER_GRADE["exact"] - 1)],
        "substitute": draw.sample(other, _RESULTS_PER_GRADE["substitute"]),
        "complement": draw.sample(complements, _RESULTS_PER_GRADE["complement"]),
        "irrelevant": unrelated[: _RESULTS_PER_GRADE["irrelevant"]],
    }
    return [(product, grade) for grade in GRADES for product in found[grade]]


def _meets(product: Product, target: Product, template: str) -> bool:
    """Whether a product of the target's type has all that the query names."""
    wanted = [
        name for name, word in zip(target.type.attributes, ("{first}", "{second}"), strict=False) if word in template
    ]
    return all(product.values[name] == target.values[name] for name in wanted) and (
        "{brand}" not in template or product.brand == target.brand
    )


def _is_unrelated(product: Product, target: Product) -> bool:
    return (
        product.type.department != target.type.department
        and product.type.key not in target.type.complements
        and target.type.key not in product.type.complements
    )


def _ranked(draw: Draw, results: list[tuple[Product, str]]) -> list[tuple[Product, str]]:
    """A search engine that is better than chance but far from perfect, so that position and relevance come apart."""
    noisy = [(GRADES.index(grade) + 4 * draw.uniform(), index) for index, (_, grade) in enumerate(results)]
    return [results[index] for _, index in sorted(noisy)]


def also_bought_pairs(draw: Draw, products: list[Product], locale: int) -> Iterator[dict[str, object]]:
    """Yields links from some of a locale's products to products of complementary types."""
    sold = [product for product in products if locale in product.locales]
    by_type = _by_type(sold)
    for product in sold:
        others = by_type.get(draw.pick(PRODUCT_TYPES[product.type.key].complements), [])
        if others and draw.chance(_BOUGHT_TOGETHER):
            yield {
                "left": product.record_id(locale),
                "right": draw.pick(others).record_id(locale),
                "language": LANGUAGES[locale],
            }


def _by_type(products: list[Product]) -> dict[str, list[Product]]:
    groups: dict[str, list[Product]] = {}
    for product in products:
        groups.setdefault(product.type.key, []).append(product)
    return groups
