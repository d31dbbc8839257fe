"""How a locale writes a product: templates with `{type}`, `{brand}`, `{series}`, `{use}`, `{first}` and `{second}`.

`{first}` and `{second}` are values of the type's first two attributes. Templates avoid articles, adjectives and verbs
that would have to agree with the gender or number of a product type.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Templates:
    """`attribute_sentences` have `{name}` and `{value}`; the names are those of the two attributes of every product."""

    titles: tuple[str, ...]
    openings: tuple[str, ...]
    attribute_sentences: tuple[str, ...]
    closings: tuple[str, ...]
    queries: tuple[str, ...]
    brand_name: str
    series_name: str


TEMPLATES: dict[str, Templates] = {
    "en": Templates(
        titles=(
            "{brand} {series} {type}, {first}, {second}",
            "{brand} {series} {type} - {first} ({second})",
            "{type} by {brand}, {series} series, {first}, {second}",
            "{brand} {type} {series} {use}, {first}, {second}",
        ),
        openings=(
            "{type} by {brand} from the {series} series, made {use}.",
            "Discover the {brand} {series} series: {type} {use}.",
            "With the {series} series {brand} offers quality {use}.",
            "{brand} {series} is the right choice {use}.",
        ),
        attribute_sentences=(
            "{name}: {value}.",
            "The product data state {name}: {value}.",
            "Good to know about this product: {name} {value}.",
        ),
        closings=(
            "{brand} stands for quality that lasts.",
            "A practical gift for family and friends.",
            "Delivered in recyclable packaging by {brand}.",
            "Order the {series} series by {brand} today.",
        ),
        queries=(
            "{first} {type}",
            "{brand} {type} {first}",
            "{type} {first} {second}",
            "{type} {brand}",
            "{type} {use}",
        ),
        brand_name="Brand",
        series_name="Series",
    ),
    "de": Templates(
        titles=(
            "{brand} {series} {type}, {first}, {second}",
            "{type} von {brand}, Serie {series}, {first}, {second}",
            "{type} {brand} {series} – {first} – {second}",
            "{brand} {type} {series} {use}, {first}, {second}",
        ),
        openings=(
            "{type} von {brand} aus der Serie {series}, gemacht {use}.",
            "Die Serie {series} von {brand}: {type} {use}.",
            "Mit der Serie {series} bietet {brand} Qualität {use}.",
            "{brand} {series} ist die richtige Wahl {use}.",
        ),
        attribute_sentences=(
            "{name}: {value}.",
            "Die Produktdaten nennen {name}: {value}.",
            "Gut zu wissen bei diesem Produkt: {name} {value}.",
        ),
        closings=(
            "{brand} steht für Qualität, die lange hält.",
            "Ein praktisches Geschenk für Familie und Freunde.",
            "Geliefert in recycelbarer Verpackung von {brand}.",
            "Bestellen Sie die Serie {series} von {brand} noch heute.",
        ),
        queries=(
            "{type} {first}",
            "{brand} {type} {first}",
            "{type} {first} {second}",
            "{type} von {brand}",
            "{type} {use}",
        ),
        brand_name="Marke",
        series_name="Serie",
    ),
    "ar": Templates(
        titles=(
            "{type} من {brand}، سلسلة {series}، {first}، {second}",
            "{type} {brand} {series} - {first} - {second}",
            "{brand} {series} {type}، {first}، {second}",
            "{type} {use} من {brand} {series}، {first}، {second}",
        ),
        openings=(
            "{type} من {brand} ضمن سلسلة {series}، صُنع هذا المنتج {use}.",
            "اكتشف سلسلة {series} من {brand}: {type} {use}.",
            "تقدم شركة {brand} مع سلسلة {series} جودة عالية {use}.",
            "سلسلة {series} من {brand} هي الخيار المناسب {use}.",
        ),
        attribute_sentences=(
            "{name}: {value}.",
            "تذكر بيانات المنتج {name}: {value}.",
            "من المفيد معرفته عن هذا المنتج: {name} {value}.",
        ),
        closings=(
            "شركة {brand} تعني جودة تدوم طويلاً.",
            "هدية عملية للعائلة والأصدقاء.",
            "يصل المنتج في عبوة قابلة لإعادة التدوير من {brand}.",
            "اطلب سلسلة {series} من {brand} اليوم.",
        ),
        queries=(
            "{type} {first}",
            "{type} {brand} {first}",
            "{type} {first} {second}",
            "{type} من {brand}",
            "{type} {use}",
        ),
        brand_name="العلامة التجارية",
        series_name="السلسلة",
    ),
}
