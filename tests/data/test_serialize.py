"""The text of a record, and that no catalog text can spell a reserved symbol."""

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.records import ProductRecord, TextRecord
from m5jax.data.serialize import FIELD_TOKENS, neutralize, serialize_product, serialize_text

hostile = st.lists(
    st.sampled_from(
        ["<", "\uff1c", "\ufe64", "title", "value", ">", "/s", "mask", "\u00ad", " ", "\n", "é", *FIELD_TOKENS]
    )
).map("".join)
RESERVED = re.compile("<(?! |$)")


def test_the_fields_stand_in_their_order_and_empty_ones_are_left_out() -> None:
    record = ProductRecord(
        id="1",
        locale="en_US",
        language="en",
        title="Red  mug",
        bullets=("for tea", " "),
        attributes={"color": "red", "size": "", "volume": "3 l"},
        category="Kitchen",
    )
    attributes = "<attribute> color<value> red<attribute> volume<value> 3 l"
    assert serialize_product(record) == f"<title> Red mug{attributes}<bullet> for tea<category> Kitchen"


@given(hostile)
def test_no_text_spells_a_reserved_symbol_even_after_normalization(value: str) -> None:
    clean = neutralize(value)
    assert not RESERVED.search(unicodedata.normalize("NFKC", clean))
    assert neutralize(clean) == clean
    assert clean.replace(" ", "") == "".join(value.split()).replace("\uff1c", "<").replace("\ufe64", "<")
    assert serialize_text(TextRecord(value, "en")) == clean


@given(hostile, hostile, hostile)
def test_only_the_serializer_places_field_tokens(title: str, name: str, value: str) -> None:
    record = ProductRecord("1", "en", "en", title=f"t{title}", attributes={f"n{name}": f"v{value}"})
    tokens = re.findall("<[a-z_]+>", unicodedata.normalize("NFKC", serialize_product(record)))
    assert tokens == ["<title>", "<attribute>", "<value>"]
