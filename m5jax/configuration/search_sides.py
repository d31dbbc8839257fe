"""The rows that a search is evaluated on, in each way of writing products that its systems need."""

from pathlib import Path

from m5jax.configuration.evaluate_fine_tuned import EvaluationSettings, check_held_out, columns_of, rejected_rows
from m5jax.configuration.fine_tuned_run import FineTuned
from m5jax.data.attributes import SEPARATORS, AttributeFormat
from m5jax.data.catalog_records import INNER_FIELDS
from m5jax.finetuning.examples import Columns, Example, read_examples
from m5jax.finetuning.search_data import RightSides, SearchData, gather
from m5jax.finetuning.tasks import JointTask, TwoTowerTask


class SearchSides:
    """Queries and documents, and their texts for each model.

    Attributes:
        examples: the labelled rows, with products as the default format writes them.
        data: queries and documents in these, which are the same whatever model is evaluated.
    """

    def __init__(
        self, tuned: FineTuned, settings: EvaluationSettings, documents: tuple[str, ...], folder: Path
    ) -> None:
        """Reads the rows.

        Args:
            tuned: the run whose task and columns the rows have.
            settings: of the evaluation.
            documents: files of documents beside the right sides.
            folder: of the evaluation.

        Raises:
            UserError: the rows cannot be read, or no query has a relevant document.
        """
        assert isinstance(tuned.config.task, (TwoTowerTask, JointTask))
        self._task, self._settings, self._folder = tuned.config.task, settings, folder
        self._columns, self._sources = columns_of(tuned, settings), documents
        self._read: dict[AttributeFormat, tuple[list[Example], list[str]]] = {}
        self.examples, further = self._rows(SEPARATORS)
        self.data: SearchData = gather(self.examples, self._task.labels, further)

    def check_held_out(self, tuned: FineTuned) -> None:
        """Raises UserError where a run was trained on the rows, and that is not allowed."""
        check_held_out(tuned, self._settings, self._rows(tuned.attributes)[0])

    def texts(self, attributes: AttributeFormat) -> tuple[list[str], list[str]]:
        """Returns the queries and documents of `data`, with products written in a format."""
        examples, further = self._rows(attributes)
        assert len(examples) == len(self.examples)
        rights = [*(example.texts[1] for example in examples), *further]
        return (
            [examples[row].texts[0] for row in self.data.query_rows],
            [rights[row] for row in self.data.document_rows],
        )

    def judged(self, attributes: AttributeFormat) -> list[Example]:
        """Returns the judged pairs of `data`, with products written in a format."""
        queries, documents = self.texts(attributes)
        return [Example("", (queries[query], documents[document]), 0.0) for query, document in self.data.judged]

    def _rows(self, attributes: AttributeFormat) -> tuple[list[Example], list[str]]:
        """Returns the examples, and the further documents."""
        if attributes not in self._read:
            rejected = rejected_rows(self._folder)
            examples = read_examples(self._settings.data, self._task, self._columns, attributes, rejected)
            self._read[attributes] = examples, self._further(attributes)
        return self._read[attributes]

    def _further(self, attributes: AttributeFormat) -> list[str]:
        if not self._sources:
            return []
        # Other columns of the pairs need not be there.
        names = {field: column for field, column in self._columns.names.items() if field in INNER_FIELDS}
        reading, rejected = RightSides(self._columns), rejected_rows(self._folder, ".documents")
        read = read_examples(self._sources, reading, Columns(names), attributes, rejected)
        return [example.texts[0] for example in read]
