"""What shoppers say and search one after the other: utterances with intents and slots, and sessions of queries."""

from collections.abc import Iterator

from m5jax.data.embedded_catalog.draw import Draw
from m5jax.data.embedded_catalog.languages import LANGUAGES
from m5jax.data.embedded_catalog.listings import template_words
from m5jax.data.embedded_catalog.product_types import PRODUCT_TYPES
from m5jax.data.embedded_catalog.products import Product
from m5jax.data.embedded_catalog.templates import TEMPLATES

# Placeholders are slots; the names of the slots are the same in every language.
SLOTS = {
    "{type}": "product_type",
    "{brand}": "brand",
    "{series}": "series",
    "{first}": "feature",
    "{second}": "feature",
}

# By language, by intent. Words around a slot do not have to agree with it.
UTTERANCES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "find_product": ("show me {type} by {brand}", "i am looking for {type} {first}", "find {first} {type} please"),
        "compare_products": ("compare {brand} {type} with others", "which is better , {first} or {second} ?"),
        "add_to_cart": ("put {brand} {series} in my cart", "add {type} {series} to the cart"),
        "track_order": ("where is my order of {type} ?", "when does {brand} {series} arrive ?"),
        "return_product": ("i want to send back {type} by {brand}", "return {series} please"),
        "ask_availability": ("is {type} {first} in stock ?", "do you have {brand} {series} ?"),
    },
    "de": {
        "find_product": ("zeige mir {type} von {brand}", "ich suche {type} {first}", "finde {type} {first} bitte"),
        "compare_products": ("vergleiche {brand} {type} mit anderen", "was ist besser , {first} oder {second} ?"),
        "add_to_cart": ("lege {brand} {series} in den Warenkorb", "{type} {series} in den Warenkorb bitte"),
        "track_order": ("wo bleibt meine Bestellung {type} ?", "wann kommt {brand} {series} an ?"),
        "return_product": ("ich will {type} von {brand} zurückschicken", "{series} zurückgeben bitte"),
        "ask_availability": ("ist {type} {first} auf Lager ?", "habt ihr {brand} {series} ?"),
    },
    "ar": {
        "find_product": ("أرني {type} من {brand}", "أبحث عن {type} {first}", "ابحث عن {type} {first} من فضلك"),
        "compare_products": ("قارن {brand} {type} مع غيره", "ما الأفضل ، {first} أم {second} ؟"),
        "add_to_cart": ("ضع {brand} {series} في سلتي", "أضف {type} {series} إلى السلة"),
        "track_order": ("أين طلبي {type} ؟", "متى يصل {brand} {series} ؟"),
        "return_product": ("أريد إرجاع {type} من {brand}", "إرجاع {series} من فضلك"),
        "ask_availability": ("هل {type} {first} متوفر ؟", "هل لديكم {brand} {series} ؟"),
    },
}
_FIRST_COMPLEMENT = 0.7


def utterances(draw: Draw, products: list[Product], locale: int, count: int) -> Iterator[dict[str, object]]:
    """Yields requests of a locale: `language`, `tokens`, `tags` in BIO form, `intent`."""
    by_intent = UTTERANCES[LANGUAGES[locale]]
    sold = [product for product in products if locale in product.locales]
    for _ in range(count):
        intent = draw.pick(list(by_intent))
        words = template_words(draw.pick(sold), locale)
        tokens: list[str] = []
        tags: list[str] = []
        for part in draw.pick(by_intent[intent]).split():
            slot = SLOTS.get(part)
            spoken = words[part.strip("{}")].split() if slot else [part]
            tokens += spoken
            tags += [f"B-{slot}", *[f"I-{slot}"] * (len(spoken) - 1)] if slot else ["O"]
        yield {"language": LANGUAGES[locale], "tokens": tokens, "tags": tags, "intent": intent}


def sessions(draw: Draw, products: list[Product], locale: int, count: int) -> Iterator[dict[str, object]]:
    """Yields sessions of a locale: `language` and `queries`: for a type, more precisely, then for what goes with it."""
    sold = [product for product in products if locale in product.locales]
    templates = TEMPLATES[LANGUAGES[locale]].queries
    for _ in range(count):
        target = draw.pick(sold)
        words = template_words(target, locale)
        refined = [template.format(**words) for template in draw.sample(templates, 1 + draw.below(2))]
        complements = target.type.complements
        key = complements[0] if draw.chance(_FIRST_COMPLEMENT) else draw.pick(complements)
        queries = [words["type"], *refined, PRODUCT_TYPES[key].name[locale]]
        yield {"language": LANGUAGES[locale], "queries": queries}
