"""How much is masked and what stands there instead, apart from TensorFlow so that gin can name it."""

import dataclasses

from m5jax.errors import UserError, unknown_name

UNITS = ("token", "word", "span", "value")
SCOPES = ("text", "values")


@dataclasses.dataclass(frozen=True)
class MaskingPolicy:
    """BERT's masking (arXiv 1810.04805, section 3.1), of tokens, whole words or spans of words.

    Attributes:
        rate: share of the text tokens that is predicted.
        mask_share: of those, the share that becomes <mask>.
        random_share: and the share that becomes a random token; the rest stay as they are.
        unit: what is chosen together: "token", "word" (all tokens up to the next space) or "span" (SpanBERT's, arXiv
            1907.10529: one to ten words, which become <mask>, random or nothing together); "value": all of an
            attribute's value.
        scope: where: in all "text", or only in attributes' "values". The rate is of what is there.

    Raises:
        UserError: the rate is not between 0 and 1, the shares are negative or over 1 together, or a name is unknown.
    """

    rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    unit: str = "token"
    scope: str = "text"

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < 1.0:
            raise UserError(f"MaskingPolicy.rate = {self.rate}; allowed: above 0 and below 1")
        # 0.9 + 0.1 is 1 only nearly.
        if min(self.mask_share, self.random_share) < 0.0 or self.mask_share + self.random_share > 1.0 + 1e-9:
            raise UserError(
                f"MaskingPolicy.mask_share = {self.mask_share} and random_share = {self.random_share}; "
                "allowed: 0 or more, together at most 1"
            )
        if self.unit not in UNITS:
            raise unknown_name("MaskingPolicy.unit", self.unit, UNITS)
        if self.scope not in SCOPES:
            raise unknown_name("MaskingPolicy.scope", self.scope, SCOPES)
        if self.unit == "value" and self.scope != "values":
            raise UserError("MaskingPolicy.unit = 'value' needs MaskingPolicy.scope = 'values'")


BERT_MASKING = MaskingPolicy()
