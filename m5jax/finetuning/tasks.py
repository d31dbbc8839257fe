"""Tasks of fine-tuning: what a row holds, what the model has beside its encoder, and what it is measured by."""

import dataclasses
import unicodedata
from typing import Any, ClassVar

from m5jax.data.field_reader import BadRecord
from m5jax.data.serialize import neutralize
from m5jax.data.vocabulary import EOS_ID
from m5jax.errors import UserError
from m5jax.finetuning.examples import Example, RowReader
from m5jax.models import ClassifierConfig, EncoderConfig, NgramEncoderConfig, TwoTowerConfig

AnyEncoder = EncoderConfig | NgramEncoderConfig


@dataclasses.dataclass(frozen=True)
class PairLabels:
    """Labels of pairs: yes or no, or grades.

    Attributes:
      lowest, highest: of the grades; a label between them is a share of a yes.
      fits_from: the least grade of pairs that fit; None: the highest.
    """

    lowest: float = 0.0
    highest: float = 1.0
    fits_from: float | None = None

    def __post_init__(self) -> None:
        if not self.lowest < self.highest:
            raise UserError(f"PairLabels.lowest = {self.lowest} is not below highest = {self.highest}")
        if not self.lowest < self.least_fit <= self.highest:
            raise UserError(
                f"PairLabels.fits_from = {self.fits_from}; allowed: above {self.lowest}, at most {self.highest}"
            )

    @property
    def least_fit(self) -> float:
        return self.highest if self.fits_from is None else self.fits_from

    def read(self, row: RowReader) -> float:
        """Returns a row's label; raises BadRecord for one that is none of these."""
        label = row.number("label")
        if not self.lowest <= label <= self.highest:
            raise BadRecord(f"label {label:g} is outside {self.lowest:g} to {self.highest:g}")
        return label

    def share(self, label: Any) -> Any:
        """Returns labels, a number or an array, as shares of a yes, 0 to 1."""
        return (label - self.lowest) / (self.highest - self.lowest)


@dataclasses.dataclass(frozen=True)
class TwoTowerTask:
    """Pairs of texts, each embedded by a tower; see `TwoTowerConfig`. Rows have `left`, `right` and `label`.

    Attributes:
      labels: of pairs. Rows without a label are pairs that fit.
      shared, projection, lexical, similarity, temperature: as of `TwoTowerConfig`.
    """

    labels: PairLabels = PairLabels()  # noqa: RUF009 (immutable)
    shared: bool = True
    projection: int = 0
    lexical: int = 0
    similarity: str = "cosine"
    temperature: float = 0.1

    kind: ClassVar = "pairs"
    fields: ClassVar = ("left", "right", "label")
    required: ClassVar = (("left",), ("right",))

    def example(self, row: RowReader, location: str) -> Example:
        """Returns the example of a row; raises BadRecord."""
        label = self.labels.highest if row.fields.value("label") is None else self.labels.read(row)
        texts = (row.text("left"), row.text("right"))
        return Example(location, texts, label, (), row.language, row.group(), row.weight())

    def model(self, encoder: AnyEncoder, labels: "Labels") -> TwoTowerConfig:
        """Returns the config of the model with an encoder."""
        return TwoTowerConfig(
            encoder=encoder,
            shared=self.shared,
            projection=self.projection,
            lexical=self.lexical,
            similarity=self.similarity,
            temperature=self.temperature,
        )


@dataclasses.dataclass(frozen=True)
class JointTask:
    """Texts read together, in one sequence, and a yes or no of all of them. Rows have `left` and `right`, or a list of
    two or more `items`, and `label`.

    Attributes:
      labels: of pairs.
      clicks: a yes is a click: probabilities matter, and the report is of these.
      compare: texts are also compared token by token (`m5jax.models.comparison`).
    """

    labels: PairLabels = PairLabels()  # noqa: RUF009 (immutable)
    clicks: bool = False
    compare: bool = True

    fields: ClassVar = ("left", "right", "items", "label")
    required: ClassVar = (("left", "items"), ("right", "items"), ("label",))

    @property
    def kind(self) -> str:
        return "clicks" if self.clicks else "pairs"

    def example(self, row: RowReader, location: str) -> Example:
        """Returns the example of a row; raises BadRecord."""
        label = self.labels.read(row)
        if row.fields.value("items") is None:
            texts = [row.text("left"), row.text("right")]
        else:
            texts = [row.text_of(f"items[{place}]", item) for place, item in enumerate(row.items("items"))]
        if len(texts) < 2:
            raise BadRecord(f"items has {len(texts)} item, two or more are needed")
        return Example(location, tuple(texts), label, (), row.language, row.group(), row.weight())

    def model(self, encoder: AnyEncoder, labels: "Labels") -> ClassifierConfig:
        """Returns the config of the model with an encoder."""
        end = EOS_ID if self.compare else None
        return ClassifierConfig(encoder=_transformer(encoder, "JointTask"), classes=1, item_end=end)


@dataclasses.dataclass(frozen=True)
class ClassificationTask:
    """One text and its class. Rows have `text`, or are a product, and `label`.

    Attributes:
      labels: that are allowed; empty: those of the training rows.
    """

    labels: tuple[str, ...] = ()

    kind: ClassVar = "classification"
    fields: ClassVar = ("text", "label")
    required: ClassVar = (("text", "title", "description", "attributes"), ("label",))

    def example(self, row: RowReader, location: str) -> Example:
        """Returns the example of a row; raises BadRecord."""
        label = row.label("label")
        if self.labels and label not in self.labels:
            raise BadRecord(f"label {label[:40]!r} is none of the {len(self.labels)} declared ones")
        text = row.own_text("text", ("label", "language", "lang", "group", "weight", "id"))
        return Example(location, (text,), label, (), row.language, row.group(), row.weight())

    def model(self, encoder: AnyEncoder, labels: "Labels") -> ClassifierConfig:
        """Returns the config of the model with an encoder."""
        return ClassifierConfig(encoder=_transformer(encoder, "ClassificationTask"), classes=len(labels.classes))


@dataclasses.dataclass(frozen=True)
class RegressionTask:
    """One text, or the two sides of a pair read together, and a number. Rows have `text`, or are a product, or have
    `left` and `right`; and `label`."""

    kind: ClassVar = "regression"
    fields: ClassVar = ("text", "left", "right", "label")
    required: ClassVar = (("text", "left", "title", "description", "attributes"), ("label",))

    def example(self, row: RowReader, location: str) -> Example:
        """Returns the example of a row; raises BadRecord."""
        label = row.number("label")
        if row.found("left") is None and row.found("right") is None:
            texts: tuple[str, ...] = (row.own_text("text", ("label", "language", "lang", "group", "weight", "id")),)
        else:
            texts = (row.text("left"), row.text("right"))
        return Example(location, texts, label, (), row.language, row.group(), row.weight())

    def model(self, encoder: AnyEncoder, labels: "Labels") -> ClassifierConfig:
        """Returns the config of the model with an encoder."""
        return ClassifierConfig(encoder=_transformer(encoder, "RegressionTask"), classes=1)


@dataclasses.dataclass(frozen=True)
class UtteranceTask:
    """The words of a request, the slot of each in BIO form, and an intent. Rows have lists `tokens` and `tags`, and
    `intent`."""

    kind: ClassVar = "understanding"
    fields: ClassVar = ("tokens", "tags", "intent")
    required: ClassVar = (("tokens",), ("tags",), ("intent",))

    def example(self, row: RowReader, location: str) -> Example:
        """Returns the example of a row; raises BadRecord."""
        words = tuple(neutralize(str(word)) for word in row.items("tokens"))
        tags = tuple(map(str, row.items("tags")))
        if not words or len(words) != len(tags):
            raise BadRecord(f"there are {len(words)} tokens and {len(tags)} tags; one of each a word is needed")
        for tag in tags:
            if tag != "O" and (not tag.startswith(("B-", "I-")) or len(tag) < 3):
                raise BadRecord(f"tag {tag[:20]!r} is not O, B-SLOT or I-SLOT")
        return Example(location, words, row.label("intent"), tags, row.language, row.group(), row.weight())

    def model(self, encoder: AnyEncoder, labels: "Labels") -> ClassifierConfig:
        """Returns the config of the model with an encoder."""
        classes, tags = len(labels.classes), len(labels.tags)
        return ClassifierConfig(encoder=_transformer(encoder, "UtteranceTask"), classes=classes, tags=tags)


@dataclasses.dataclass(frozen=True)
class TextToTextTask:
    """A text from another one, by an encoder-decoder. Rows have `input` and `target`.

    Attributes:
      targets_length: most tokens of a target.
    """

    targets_length: int = 64

    kind: ClassVar = "text"
    fields: ClassVar = ("input", "target")
    required: ClassVar = (("input",), ("target",))

    def example(self, row: RowReader, location: str) -> Example:
        """Returns the example of a row; raises BadRecord."""
        inputs = row.plain_text("input")
        # As the vocabulary normalizes texts: what is written is compared with this.
        target = " ".join(unicodedata.normalize("NFKC", row.label("target")).split())
        return Example(location, (inputs,), target, (), row.language, row.group(), row.weight())


Task = TwoTowerTask | JointTask | ClassificationTask | RegressionTask | UtteranceTask | TextToTextTask


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a model with heads may say: classes of texts and tags of words, each by its number."""

    classes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def find_labels(task: Task, examples: list[Example]) -> Labels:
    """Returns the labels that training examples have, or that the task declares.

    Raises:
      UserError: there is one class only, or all pairs have the same label.
    """
    if isinstance(task, (TwoTowerTask, JointTask)):
        if isinstance(task, JointTask) and len({example.label for example in examples}) < 2:
            raise UserError(f"all {len(examples)} training examples have the label {examples[0].label}; two are needed")
        return Labels()
    if isinstance(task, (RegressionTask, TextToTextTask)):
        return Labels()
    classes = sorted({str(example.label) for example in examples})
    if isinstance(task, ClassificationTask) and task.labels:
        classes = sorted(set(task.labels))
    if len(classes) < 2:
        raise UserError(f"all {len(examples)} training examples have the label {classes[0]!r}; two are needed")
    return Labels(tuple(classes), tuple(sorted({tag for example in examples for tag in example.tags})))


def _transformer(encoder: AnyEncoder, task: str) -> EncoderConfig:
    if not isinstance(encoder, EncoderConfig):
        raise UserError(f"{task} needs an EncoderConfig; a bag of n-grams is of TwoTowerTask only")
    return encoder
