"""Which language a text is in, by lingua (n-grams of one to five letters and rules for alphabets)."""

import dataclasses
import functools
from typing import TYPE_CHECKING

from m5jax.data.preparation.normalize import count_letters
from m5jax.errors import UserError, unknown_name

if TYPE_CHECKING:
    from lingua import LanguageDetector

# The language of a record that states none; ISO 639-2's code for "undetermined".
UNDETERMINED = "und"
# The beginning of a text tells its language; the time that lingua takes grows with the length.
_CHARACTERS = 300


@dataclasses.dataclass(frozen=True)
class LanguageIdentification:
    """Which languages are wanted, and when a text is taken to be in another than it states.

    Attributes:
        languages: those to keep, as codes of ISO 639-1; "pt" keeps "pt-br" too.
        candidates: others that texts may be in. A text is taken to be in one of `languages` or `candidates`: where
            French is neither, a French text is taken for the one that is nearest.
        confidence: of lingua, from which on its answer counts, 0.5 to 1. Below it a text that states its language
            keeps that, and one that states none is dropped.
        minimum_letters: a text with fewer keeps the language it states: a title of brands and numbers looks like any.
    """

    languages: tuple[str, ...]
    candidates: tuple[str, ...] = ()
    confidence: float = 0.9
    minimum_letters: int = 40

    def __post_init__(self) -> None:
        if not self.languages:
            raise UserError("LanguageIdentification.languages is empty; name the languages to keep, such as ('en',)")
        if not 0.5 <= self.confidence <= 1.0:
            raise UserError(f"LanguageIdentification.confidence = {self.confidence}; allowed: 0.5 to 1")
        if self.minimum_letters < 0:
            raise UserError(f"LanguageIdentification.minimum_letters = {self.minimum_letters}; allowed: 0 or more")

    def load(self) -> None:
        """Loads lingua's models of the languages, once in a process; raises UserError for a code it does not know."""
        _detector(tuple(sorted({*self.languages, *self.candidates})))

    def decide(self, stated: str, text: str) -> tuple[str, str | None]:
        """Returns the language of `text`, which states `stated` or `UNDETERMINED`, and why it is dropped, if it is.

        Raises:
            UserError: as `load`.
        """
        if stated != UNDETERMINED and not self._is_wanted(stated):
            return stated, "language_not_wanted"
        identified = self._identify(text, stated)
        if stated == UNDETERMINED:
            if identified is None:
                return stated, "language_unclear"
            return identified, None if self._is_wanted(identified) else "language_not_wanted"
        differs = identified is not None and identified != _primary(stated)
        return stated, "language_differs" if differs else None

    def _is_wanted(self, language: str) -> bool:
        return language in self.languages or _primary(language) in self.languages

    def _identify(self, text: str, stated: str) -> str | None:
        beginning = text[:_CHARACTERS]
        if stated != UNDETERMINED and count_letters(beginning) < self.minimum_letters:
            return None
        codes = tuple(sorted({*self.languages, *self.candidates}))
        best = _detector(codes).compute_language_confidence_values(beginning)[0]
        return best.language.iso_code_639_1.name.lower() if best.value >= self.confidence else None


def _primary(language: str) -> str:
    return language.replace("_", "-").partition("-")[0]


@functools.lru_cache(maxsize=1)
def _detector(codes: tuple[str, ...]) -> "LanguageDetector":
    from lingua import Language, LanguageDetectorBuilder

    known = {language.iso_code_639_1.name.lower(): language for language in Language.all()}
    for code in codes:
        if code not in known:
            raise unknown_name("language to identify", code, known)
    if len(codes) < 2:
        raise UserError(f"only {codes[0]} can be identified; name other languages in LanguageIdentification.candidates")
    return LanguageDetectorBuilder.from_languages(*(known[code] for code in codes)).build()
