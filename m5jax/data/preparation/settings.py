"""What `m5jax data prepare` is told: the gin-configurable settings of a preparation."""

import dataclasses
import hashlib
import json
from typing import Any, cast

from m5jax.data.preparation.filters import QualityFilters
from m5jax.data.preparation.language import LanguageIdentification
from m5jax.data.preparation.near_duplicates import NearDuplicates
from m5jax.data.records import FIELDS, RecordKind
from m5jax.errors import UserError, check_below_one, unknown_name

LABELLED = "labelled"
LANGUAGE, SPLIT_KEY = "language", "split_key"
KINDS = ("text", "product", LABELLED)

Sources = str | tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Preparation:
    """From raw files to clean shards.

    Attributes:
        input: files, globs and TFDS sets (`m5jax.data.readers`), or a mapping of them by split.
        output: a directory that does not exist yet.
        kind: "text", "product", or "labelled": JSON rows of a fine-tuning set, of which no two different ones are ever
            taken for one.
        column_mapping: our field -> the input's column. `split_key` names the column whose equal values stay on one
            side of the split (default: the id of a product, the text of a text, a labelled row as a whole), and for
            labelled rows `language` that of their language.
        defaults: our field -> constant for rows that leave it empty.
        languages: None: every text keeps the language it states, which it must.
        filters: None: no text is dropped for its length or quality.
        near_duplicates: None: only texts that are equal once normalised are dropped.
        validation_fraction: share of the texts for "validation" where the input has no other split than "train".
        reject_limit: share of the rows that may be bad.
        shard_megabytes: of JSON lines in a shard before compression, roughly; a worker holds one in memory.
    """

    input: str | tuple[str, ...] | dict[str, Sources]
    output: str
    kind: str = "text"
    column_mapping: dict[str, str] = dataclasses.field(default_factory=dict)
    defaults: dict[str, str] = dataclasses.field(default_factory=dict)
    languages: LanguageIdentification | None = None
    filters: QualityFilters | None = None
    near_duplicates: NearDuplicates | None = None
    validation_fraction: float = 0.02
    reject_limit: float = 0.01
    shard_megabytes: int = 64

    def __post_init__(self) -> None:
        for name in ("input", "output"):
            if not getattr(self, name):
                raise UserError(f"no {name} is named; add --gin.{name.upper()}=\"'...'\"")
        if "://" in self.output:
            raise UserError(f"{self.output} is no directory; name one that every worker has mounted")
        if self.kind not in KINDS:
            raise unknown_name("kind of rows", self.kind, KINDS)
        allowed = (*FIELDS[self.record_kind], SPLIT_KEY) if self.kind != LABELLED else (LANGUAGE, SPLIT_KEY)
        for field in (*self.column_mapping, *self.defaults):
            if field not in allowed:
                raise unknown_name(f"field of a {self.kind} row", field, allowed)
        for split in self.sources:
            if not split.replace("_", "").isalnum():
                raise UserError(f"{split!r} cannot name a split; allowed: letters, digits and '_'")
        check_below_one(self, "validation_fraction", "reject_limit")
        if self.shard_megabytes < 1:
            raise UserError(f"Preparation.shard_megabytes = {self.shard_megabytes}; allowed: 1 or more")
        if self.kind == LABELLED:
            self._refuse_what_drops_labels()

    def _refuse_what_drops_labels(self) -> None:
        for name in ("near_duplicates", "languages", "filters"):
            if getattr(self, name) is not None:
                raise UserError(
                    f"Preparation.{name} is set for labelled rows, and would drop pairs that a label calls alike or "
                    "short queries; allowed: None"
                )

    @property
    def record_kind(self) -> RecordKind:
        """The kind as `m5jax.data.records` knows it; not for labelled rows."""
        return cast(RecordKind, self.kind)

    @property
    def sources(self) -> dict[str, Sources]:
        """Sources by split."""
        return self.input if isinstance(self.input, dict) else {"train": self.input}

    @property
    def hashed_fraction(self) -> float:
        """Share of the rows that a hash puts to "validation": 0 where the input names that split itself."""
        return self.validation_fraction if set(self.sources) == {"train"} else 0.0

    def fingerprint(self, sources: Any) -> str:
        """Returns 12 hexadecimal digits that tell these settings and described sources from others."""
        settings = {name: value for name, value in dataclasses.asdict(self).items() if name not in ("input", "output")}
        content = json.dumps([settings, sources], sort_keys=True)
        return hashlib.blake2b(content.encode("utf-8"), digest_size=6).hexdigest()
