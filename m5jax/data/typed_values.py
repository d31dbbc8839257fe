"""The normal form of an attribute's value: numbers, quantities, booleans and enumerations, in many languages.

    1.234,5 (de)   ١٬٢٣٤٫٥        number        1234.5
    1,5 kg (de)    1500 g          quantity      1500 g
    ja (de)        نعم (ar)        boolean       true
    BLACK          black           enumeration   Black, where the training data spell it so most often

What is none of these is text and stays as it is. A normal form, read as English, is its own normal form. Units are a
table of what catalogs write, abbreviations and words of several languages; libraries of physical units know the
English names only.
"""

import functools
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["number", "quantity", "boolean", "enumeration", "text"]

# Decimal comma (CLDR); others have a point. Variants of a language that differ from it have an entry of their own.
_COMMA_LANGUAGES = (
    "af az be bg bs ca cs da de el es et eu fi fr gl hr hu hy id is it ka kk lt lv mk nb nl nn no pl pt ro ru sk sl sq "
    "sr sv tr uk uz vi"
)
_POINT_VARIANTS = frozenset(("de-ch", "de-li", "es-mx", "es-us", "it-ch"))
_DIRECTION_MARKS = re.compile("[\u200e\u200f\u061c\u2066-\u2069]")
_ARABIC_POINT = "\u066b"
# Of thousands: comma and point, apostrophes, spaces that do not break a line, the Arabic mark.
_GROUPING = ".,'\u2019\u00a0\u202f\u066c"
_AMOUNT_AND_UNIT = re.compile(rf"([-+\u2212]?\d(?:[\d {_ARABIC_POINT}{_GROUPING}]*\d)?)\s*(\D.{{0,15}})")
_MOST_DIGITS, _MOST_DECIMALS = 15, 9
_SIGNIFICANT = 6

# By language: words for true, words for false. The English ones are read in every language.
_BOOLEAN_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ar": ("نعم صحيح", "لا خطأ"),
        "da": ("ja sandt", "nej falsk"),
        "de": ("ja wahr", "nein falsch"),
        "en": ("true yes", "false no"),
        "es": ("sí verdadero", "no falso"),
        "fr": ("oui vrai", "non faux"),
        "hi": ("हाँ", "नहीं"),
        "it": ("sì vero", "no falso"),
        "ja": ("はい", "いいえ"),
        "nb": ("ja sant", "nei usant"),
        "nl": ("ja waar", "nee onwaar"),
        "no": ("ja sant", "nei usant"),
        "pl": ("tak prawda", "nie fałsz"),
        "pt": ("sim verdadeiro", "não falso"),
        "ru": ("да", "нет"),
        "sv": ("ja sant", "nej falskt"),
        "tr": ("evet doğru", "hayır yanlış"),
        "zh": ("是", "否"),
    }
)

# The unit that all of a kind are written in: by factor, how others are spelled. A space within a spelling is left out.
_UNITS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "g": {
            "1": "g gr gram grams gramm gramme grammes gramos grammi г غ غم جم جرام غرام",
            "0.001": "mg milligram milligrams milligramm ملغ ملجم",
            "1000": "kg kgs kilo kilogram kilograms kilogramm kilogrammes кг كغ كجم كيلوجرام كيلوغرام",
            "28.349523125": "oz ounce ounces unze unzen onza onzas أونصة",
            "453.59237": "lb lbs pound pounds libra libras رطل",
        },
        "mm": {
            "1": "mm millimeter millimeters millimetre millimetres мм مم ملم",
            "10": "cm centimeter centimeters centimetre centimetres zentimeter см سم",
            "1000": "m meter meters metre metres metro metros mètre mètres м متر",
            "1000000": "km kilometer kilometers kilometre kilometres км كم",
            "25.4": 'in inch inches " ″ zoll pouce pouces pulgada pulgadas pollici بوصة إنش',
            "304.8": "ft foot feet ' ′ fuß قدم",
            "914.4": "yd yard yards",
        },
        "ml": {
            "1": "ml milliliter milliliters millilitre millilitres мл مل",
            "10": "cl centiliter centilitre",
            "100": "dl deciliter decilitre",
            "1000": "l L liter liters litre litres litro litros litri л لتر ليتر",
            "29.5735295625": "floz fl.oz fluidounce fluidounces",
            "3785.411784": "gal gallon gallons",
        },
        "s": {
            "0.001": "ms millisecond milliseconds",
            "1": "s sec secs second seconds sekunde sekunden ثانية",
            "60": "min mins minute minutes minuten minutos دقيقة",
            "3600": "h hr hrs hour hours stunde stunden heures horas ساعة",
        },
        "W": {"0.001": "mW", "1": "W watt watts واط", "1000": "kW kilowatt", "1000000": "MW"},
        "Wh": {"1": "Wh", "1000": "kWh"},
        "V": {"0.001": "mV", "1": "V volt volts فولت", "1000": "kV", "1000000": "MV"},
        "mA": {"1": "mA", "1000": "A amp amps ampere amperes أمبير"},
        "mAh": {"1": "mAh", "1000": "Ah"},
        "Hz": {"1": "Hz hertz هرتز", "1000": "kHz", "1000000": "MHz", "1000000000": "GHz"},
        "MB": {"0.001": "kB KB", "1": "MB mb megabyte", "1000": "GB gb gigabyte", "1000000": "TB tb terabyte"},
        "Mbit": {"1": "Mbit Mb megabit", "1000": "Gbit Gb gigabit"},
        "bar": {"1": "bar", "0.001": "mbar", "0.0689475729": "psi"},
        "°C": {"1": "°C"},
        "dB": {"1": "dB db(a) dB(A)"},
        "lm": {"1": "lm lumen lumens"},
        "dpi": {"1": "dpi"},
        "%": {"1": "% percent prozent ٪"},
        "€": {"1": "€ eur euro euros"},
        "$": {"1": "$ usd"},
        "£": {"1": "£ gbp"},
    }
)


def _spellings() -> dict[str, tuple[str, Decimal]]:
    """Returns base unit and factor of each spelling, and of its lower case where that is long enough to be no other."""
    exact = {
        spelling: (base, Decimal(factor))
        for base, factors in _UNITS.items()
        for factor, spellings in factors.items()
        for spelling in spellings.split()
    }
    folded: dict[str, set[tuple[str, Decimal]]] = {}
    for spelling, unit in exact.items():
        folded.setdefault(spelling.casefold(), set()).add(unit)
    unambiguous = {name: next(iter(units)) for name, units in folded.items() if len(units) == 1 and len(name) > 1}
    return unambiguous | exact


_SPELLINGS = _spellings()


def normal_form(value: str, language: str = "en", enumeration: Mapping[str, str] | None = None) -> tuple[Kind, str]:
    """Returns the kind of a value and how it is written, `value` itself for text. Takes any string.

    Args:
        value: as the record has it.
        language: of the record; says what "1,234" and "ja" mean.
        enumeration: of the attribute: by `enumeration_key`, how a value is spelled.
    """
    text = _DIRECTION_MARKS.sub("", value).strip()
    if boolean := _booleans(_base_language(language)).get(text.casefold()):
        return "boolean", boolean
    if (number := parse_number(text, language)) is not None:
        return "number", _written(number)
    if quantity := _quantity(text, language):
        return "quantity", quantity
    spelling = (enumeration or {}).get(enumeration_key(value))
    return ("text", value) if spelling is None else ("enumeration", spelling)


def enumeration_key(value: str) -> str:
    """Returns what values that differ in case and white space only have in common."""
    return " ".join(value.casefold().split())


def parse_number(text: str, language: str = "en") -> Decimal | None:
    """Returns the number that a text is, by the customs of a language; None where it is none, or a code such as 007."""
    text = _western_digits(text)
    sign = -1 if text[:1] in ("-", "\u2212") else 1
    body = text[1:] if text[:1] in ("-", "\u2212", "+") else text
    if not (body[:1].isdigit() and body[-1:].isdigit()) or len(body) > 2 * _MOST_DIGITS:
        return None
    own = "," if _decimal_comma(language) else "."
    spaces = " " if own == "," else ""
    for mark in (_ARABIC_POINT,) if _ARABIC_POINT in body else (own, "," if own == "." else "."):
        if match := _number_pattern(mark, spaces).fullmatch(body):
            integer = re.sub(r"\D", "", match["integer"])
            if len(integer) > _MOST_DIGITS or len(match["decimals"] or "") > _MOST_DECIMALS:
                return None
            return sign * Decimal(f"{integer}.{match['decimals'] or 0}")
    return None


@functools.cache
def _number_pattern(mark: str, spaces: str) -> re.Pattern[str]:
    grouping = f"[{re.escape(_GROUPING.replace(mark, '') + spaces)}]"
    grouped = rf"[1-9]\d{{0,2}}(?P<mark>{grouping})\d{{3}}(?:(?P=mark)\d{{3}})*"
    return re.compile(rf"(?P<integer>{grouped}|0|[1-9]\d*)(?:{re.escape(mark)}(?P<decimals>\d+))?", re.ASCII)


@functools.cache
def _decimal_comma(language: str) -> bool:
    return _tag(language) not in _POINT_VARIANTS and _base_language(language) in _COMMA_LANGUAGES.split()


@functools.cache
def _booleans(language: str) -> Mapping[str, str]:
    """Returns "true" or "false" by each word that says it in a language, in lower case."""
    words = {**_spoken("en"), **_spoken(language)}
    return {word.casefold(): spelling for word, spelling in words.items()}


def _spoken(language: str) -> dict[str, str]:
    pairs = zip(("true", "false"), _BOOLEAN_WORDS.get(language, ("", "")), strict=True)
    return {word: spelling for spelling, words in pairs for word in words.split()}


def _tag(language: str) -> str:
    return language.lower().replace("_", "-")


def _base_language(language: str) -> str:
    return _tag(language).partition("-")[0]


def _quantity(text: str, language: str) -> str:
    """Returns a number with its unit as a multiple of the base unit, or "" where the text is none."""
    text = _western_digits(text)
    if text[:1] in ("€", "$", "£"):
        text = text[1:].lstrip() + text[0]
    match = _AMOUNT_AND_UNIT.fullmatch(text)
    number = parse_number(match[1], language) if match else None
    spelling = match[2].replace(" ", "").rstrip(".") if match else ""
    # "5G" is no weight: only longer units are told apart by their letters alone.
    unit = _SPELLINGS.get(spelling) or (_SPELLINGS.get(spelling.casefold()) if len(spelling) > 1 else None)
    if number is None or unit is None:
        return ""
    base, factor = unit
    amount = number * factor
    if factor.normalize().as_tuple().digits != (1,):
        amount = Decimal(f"{amount:.{_SIGNIFICANT}g}")
    return f"{_written(amount)} {base}"


def _western_digits(text: str) -> str:
    """Returns the text with the decimal digits of all scripts as 0 to 9; superscripts and fractions stay."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(c)) if unicodedata.category(c) == "Nd" else c for c in text)


def _written(number: Decimal) -> str:
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
