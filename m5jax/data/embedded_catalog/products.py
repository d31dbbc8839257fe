"""Draws the products: families of variants that differ in one attribute, each variant sold in one to three locales."""

import dataclasses
from collections.abc import Iterator

from m5jax.data.embedded_catalog.attributes import ATTRIBUTES
from m5jax.data.embedded_catalog.draw import Draw
from m5jax.data.embedded_catalog.languages import LOCALES
from m5jax.data.embedded_catalog.product_types import DEPARTMENTS, PRODUCT_TYPES, ProductType

_SERIES_NAMES = """
Aero Nova Terra Luna Prime Vista Orion Delta Coral Ember Fjord Gala Helio Iris Juno Kappa Lyra Mira Nimbus Opal Polar
Quest Rhea Sierra Tempo Ultra Vega Willow Xeno Zephyr
"""
_SERIES = _SERIES_NAMES.split()
_SERIES_PER_BRAND = 5
_BRANDS = [brand for department in DEPARTMENTS.values() for brand in department.brands]


@dataclasses.dataclass(frozen=True)
class Product:
    """One variant of a family. `values[attribute]` indexes the attribute's values; `locales` indexes LOCALES."""

    family: str
    variant: int
    type: ProductType
    brand: str
    series: str
    values: dict[str, int]
    decisive: str
    locales: tuple[int, ...]

    @property
    def key(self) -> str:
        """The same in every locale."""
        return f"{self.family}-{self.variant}"

    def record_id(self, locale: int) -> str:
        """The id of the product's record in a locale."""
        return f"{self.key}-{LOCALES[locale]}"


def draw_products(draw: Draw, products_per_locale: int) -> list[Product]:
    """Returns products such that each locale has `products_per_locale`, two fifths of them in other locales too."""
    memberships = draw.shuffled(_memberships(products_per_locale))
    taken: set[tuple[str, str, str]] = set()
    products: list[Product] = []
    while len(products) < len(memberships):
        size = (1, 1, 1, 2, 2, 3)[draw.below(6)]
        family = list(_draw_family(draw, f"{len(taken):06d}", taken, memberships[len(products) :][:size]))
        products += family
    return products


def _memberships(products_per_locale: int) -> list[tuple[int, ...]]:
    in_all, in_pair = products_per_locale // 5, products_per_locale // 10
    alone = products_per_locale - in_all - 2 * in_pair
    groups = [((0, 1, 2), in_all), ((0, 1), in_pair), ((0, 2), in_pair), ((1, 2), in_pair)]
    groups += [((locale,), alone) for locale in range(len(LOCALES))]
    return [locales for locales, count in groups for _ in range(count)]


def _draw_family(
    draw: Draw, family: str, taken: set[tuple[str, str, str]], memberships: list[tuple[int, ...]]
) -> Iterator[Product]:
    product_type = draw.pick(list(PRODUCT_TYPES.values()))
    brand = draw.pick(DEPARTMENTS[product_type.department].brands)
    series = _draw_series(draw, product_type, brand, taken)
    values = {name: draw.below(len(ATTRIBUTES[name].values)) for name in product_type.attributes}
    decisive = product_type.attributes[draw.below(2)]
    choices = draw.sample(range(len(ATTRIBUTES[decisive].values)), len(memberships))
    for variant, (choice, locales) in enumerate(zip(choices, memberships, strict=False)):
        own = {**values, decisive: choice}
        yield Product(family, variant, product_type, brand, series, own, decisive, locales)


def _draw_series(draw: Draw, product_type: ProductType, brand: str, taken: set[tuple[str, str, str]]) -> str:
    """A brand has few series with round numbers; other numbers are used where those are taken."""
    number = 100 * (1 + draw.below(9))
    while True:
        first = _BRANDS.index(brand) * _SERIES_PER_BRAND
        name = _SERIES[(first + draw.below(_SERIES_PER_BRAND)) % len(_SERIES)]
        key = (product_type.key, brand, f"{name} {number}")
        if key not in taken:
            taken.add(key)
            return key[2]
        number = 100 + draw.below(900)
