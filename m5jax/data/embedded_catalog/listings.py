"""Writes a product as the record of one locale."""

from m5jax.data.embedded_catalog.attributes import ATTRIBUTES
from m5jax.data.embedded_catalog.draw import Draw
from m5jax.data.embedded_catalog.languages import LANGUAGES, LOCALES
from m5jax.data.embedded_catalog.product_types import DEPARTMENTS
from m5jax.data.embedded_catalog.products import Product
from m5jax.data.embedded_catalog.templates import TEMPLATES

_OMITTED_ATTRIBUTE = 0.15


def listing(draw: Draw, product: Product, locale: int) -> dict[str, object]:
    """Returns the record, with the fields of a ProductRecord plus `product_key` and `family`.

    The two attributes that a query can name are always listed; of the others a locale may leave some out.
    """
    templates = TEMPLATES[LANGUAGES[locale]]
    words = template_words(product, locale)
    always = product.type.attributes[:2]
    listed = [name for name in product.type.attributes if name in always or not draw.chance(_OMITTED_ATTRIBUTE)]
    values = {name: ATTRIBUTES[name].values[product.values[name]][locale] for name in listed}
    names = {name: ATTRIBUTES[name].name[locale] for name in listed}
    sentences = [draw.pick(templates.openings).format(**words)]
    for name in draw.sample(listed, 2):
        sentences.append(draw.pick(templates.attribute_sentences).format(name=names[name], value=values[name]))
    sentences.append(draw.pick(templates.closings).format(**words))
    bullets = [ATTRIBUTES[name].phrases[locale].format(values[name]) for name in draw.sample(listed, 3)]
    attributes = {templates.brand_name: product.brand, templates.series_name: product.series}
    attributes.update((names[name], values[name]) for name in listed)
    return {
        "id": product.record_id(locale),
        "locale": LOCALES[locale],
        "language": LANGUAGES[locale],
        "title": draw.pick(templates.titles).format(**words),
        "description": " ".join(sentences),
        "bullets": bullets,
        "attributes": attributes,
        "category": f"{DEPARTMENTS[product.type.department].name[locale]} > {product.type.name[locale]}",
        "product_key": product.key,
        "family": product.family,
    }


def template_words(product: Product, locale: int) -> dict[str, str]:
    """Returns what the templates of a locale name of a product."""
    first, second = (ATTRIBUTES[name].values[product.values[name]][locale] for name in product.type.attributes[:2])
    return {
        "type": product.type.name[locale],
        "use": product.type.use[locale],
        "brand": product.brand,
        "series": product.series,
        "first": first,
        "second": second,
    }
