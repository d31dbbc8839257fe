import pytest

from m5jax.data.preparation.language import UNDETERMINED, LanguageIdentification
from m5jax.errors import UserError

TEXTS = {
    "en": "This kettle boils a litre of water in under three minutes and switches itself off.",
    "de": "Dieser Wasserkocher bringt einen Liter Wasser in drei Minuten zum Kochen und schaltet sich ab.",
    "ar": "هذه الغلاية تغلي لترا من الماء في أقل من ثلاث دقائق ثم تتوقف من تلقاء نفسها",
}
WANTED = LanguageIdentification(("en", "de", "ar"))


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_in_the_language_it_states_stays(language):
    assert WANTED.decide(language, TEXTS[language]) == (language, None)
    assert WANTED.decide(f"{language}-xx", TEXTS[language]) == (f"{language}-xx", None)


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_without_a_language_gets_one(language):
    assert WANTED.decide(UNDETERMINED, TEXTS[language]) == (language, None)


@pytest.mark.parametrize(("stated", "written"), [("en", "de"), ("de", "ar"), ("ar", "en")])
def test_a_text_in_another_language_is_dropped(stated, written):
    assert WANTED.decide(stated, TEXTS[written]) == (stated, "language_differs")


def test_unwanted_and_unclear_languages_are_dropped():
    assert WANTED.decide("fr", "Cette bouilloire est rouge.") == ("fr", "language_not_wanted")
    assert WANTED.decide(UNDETERMINED, "12345 67890")[1] == "language_unclear"
    with_french = LanguageIdentification(("en", "de"), candidates=("fr",))
    french = "Cette bouilloire porte un litre d'eau à ébullition en moins de trois minutes et s'éteint toute seule."
    assert with_french.decide(UNDETERMINED, french) == ("fr", "language_not_wanted")
    assert with_french.decide("en", french) == ("en", "language_differs")


def test_a_short_title_keeps_the_language_it_states():
    assert WANTED.decide("de", "Samsung Galaxy S21 Ultra 5G") == ("de", None)


def test_wrong_settings_are_refused():
    with pytest.raises(UserError, match="languages is empty"):
        LanguageIdentification(())
    with pytest.raises(UserError, match="allowed: 0.5 to 1"):
        LanguageIdentification(("en",), confidence=0.2)
    with pytest.raises(UserError, match="unknown language to identify 'xx'"):
        LanguageIdentification(("en", "xx")).load()
    with pytest.raises(UserError, match="only en can be identified"):
        LanguageIdentification(("en",)).load()
