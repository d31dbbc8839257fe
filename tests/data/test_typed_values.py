"""Normal forms of values, in three scripts; and that no string breaks them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m5jax.data.attributes import number_locale
from m5jax.data.records import ProductRecord
from m5jax.data.serialize import neutralize
from m5jax.data.typed_values import enumeration_key, normal_form, parse_number

LANGUAGES = st.sampled_from(["en", "de", "ar", "fr-ca", "de-ch", "hi", "ja", "", "EN_us"])
WIDE = st.text(max_size=40) | st.text("0123456789٠١٢٣۴५.,'٫٬ -+kgmlin\"°%€$\u00a0\u200f", max_size=12)
ENUMERATION = {"black": "Black", "rot": "Rot"}


@pytest.mark.parametrize(
    ("value", "language", "kind", "written"),
    [
        ("1.234,5", "de", "number", "1234.5"),
        ("1,234.5", "de", "number", "1234.5"),
        ("1.234", "de", "number", "1234"),
        ("1.234", "en", "number", "1.234"),
        ("1,234", "en", "number", "1234"),
        ("1,5", "en", "number", "1.5"),
        ("0,500", "en", "number", "0.5"),
        ("1\u202f234,50", "fr", "number", "1234.5"),
        ("1 234", "ru", "number", "1234"),
        ("12 345", "en", "text", "12 345"),
        ("1'234.50", "de-ch", "number", "1234.5"),
        ("1.234", "de-CH", "number", "1.234"),
        ("١٬٢٣٤٫٥", "ar", "number", "1234.5"),
        ("१२३", "hi", "number", "123"),
        ("−5", "en", "number", "-5"),
        ("007", "en", "text", "007"),
        ("1.2.3", "en", "text", "1.2.3"),
        ("5²", "en", "text", "5²"),
        ("1/2", "en", "text", "1/2"),
        ("0 - 40", "en", "text", "0 - 40"),
        ("105 x 95", "en", "text", "105 x 95"),
        ("9" * 16, "en", "text", "9" * 16),
        ("1,5 kg", "de", "quantity", "1500 g"),
        ("1500 g", "en", "quantity", "1500 g"),
        ("١٫٥ كجم", "ar", "quantity", "1500 g"),
        ("12 in", "en", "quantity", "304.8 mm"),
        ("30,48 cm", "de", "quantity", "304.8 mm"),
        ('12"', "en", "quantity", "304.8 mm"),
        ("12 Zoll", "de", "quantity", "304.8 mm"),
        ("12 fl. oz.", "en", "quantity", "354.882 ml"),
        ("2 لتر", "ar", "quantity", "2000 ml"),
        ("16 Ounce", "en", "quantity", "453.592 g"),
        ("19,99\u00a0€", "de", "quantity", "19.99 €"),
        ("€ 19.99", "en", "quantity", "19.99 €"),
        ("1 MW", "en", "quantity", "1000000 W"),
        ("1 mW", "en", "quantity", "0.001 W"),
        ("1 Gb", "en", "quantity", "1000 Mbit"),
        ("1 gb", "en", "quantity", "1000 MB"),
        ("3 pieces", "en", "text", "3 pieces"),
        ("Ja", "de", "boolean", "true"),
        ("TRUE ", "en", "boolean", "true"),
        ("نعم\u200f", "ar", "boolean", "true"),
        ("لا", "ar", "boolean", "false"),
        ("Yes", "ar", "boolean", "true"),
        ("faux", "fr_CA", "boolean", "false"),
        ("Faux", "en", "text", "Faux"),
        ("black", "en", "enumeration", "Black"),
        ("  ROT", "de", "enumeration", "Rot"),
        ("blackish", "en", "text", "blackish"),
        ("", "en", "text", ""),
    ],
)
def test_normal_forms(value: str, language: str, kind: str, written: str) -> None:
    assert normal_form(value, language, ENUMERATION) == (kind, written)


@given(WIDE, LANGUAGES)
def test_any_string_has_a_normal_form_that_is_its_own(value: str, language: str) -> None:
    kind, written = normal_form(value, language, ENUMERATION)
    assert kind != "text" or written == value
    assert normal_form(written, "en", ENUMERATION) == (kind, written)
    if kind == "number":
        assert parse_number(written) == Decimal(written)
    if kind != "text":
        assert neutralize(written) == written


@given(
    st.decimals(-(10**12), 10**12, places=3), st.sampled_from([("en", ",", "."), ("de", ".", ","), ("de-ch", "’", ".")])
)
def test_numbers_come_back_from_the_writing_of_a_locale(number: Decimal, custom: tuple[str, str, str]) -> None:
    language, grouping, point = custom
    written = f"{number:,.3f}".replace(",", "_").replace(".", point).replace("_", grouping)
    assert parse_number(written, language) == number
    # The same in Arabic digits and with Arabic marks.
    arabic = f"{number:,.3f}".replace(",", "\u066c").replace(".", "\u066b")
    assert parse_number("".join(chr(0x660 + int(c)) if c.isdigit() else c for c in arabic), "ar") == number


@given(st.integers(1, 10**6), st.sampled_from([("g", "kg"), ("mm", "m"), ("ml", "l"), ("mA", "A"), ("MB", "GB")]))
def test_a_quantity_reads_alike_in_both_units(amount: int, units: tuple[str, str]) -> None:
    small, large = units
    thousandth = f"{Decimal(amount) / 1000:f}".replace(".", ",")
    expected = ("quantity", f"{amount} {small}")
    assert normal_form(f"{amount}{small}", "en") == normal_form(f"{thousandth} {large}", "de") == expected


@given(st.text(max_size=20))
def test_the_key_of_an_enumeration_forgets_case_and_space(value: str) -> None:
    assert enumeration_key(f" {value}\t") == enumeration_key(value)
    assert enumeration_key("Straße  X") == enumeration_key("strasse x")


def test_capital_letters_after_a_number_are_no_unit() -> None:
    for text in ("5G", "4G", "10 M", "3 H", "2 S"):
        assert normal_form(text, "en")[0] == "text"
    assert normal_form("5 g", "en") == ("quantity", "5 g")


def test_a_market_is_not_the_language_of_its_numbers() -> None:
    def record(locale: str, language: str) -> ProductRecord:
        return ProductRecord(id="1", locale=locale, language=language, title="x")

    assert [number_locale(record(*pair)) for pair in (("ca", "en"), ("de_CH", "de"), ("us", "es"))] == [
        "en",
        "de_CH",
        "es",
    ]
