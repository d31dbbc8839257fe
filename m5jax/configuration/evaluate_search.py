"""Evaluation of a fine-tuned run as a search, beside other systems: one report, and the run's predictions."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from m5jax.configuration.evaluate_fine_tuned import (
    EvaluationSettings,
    answer_examples,
    facts_of,
    folder_of,
    summary,
)
from m5jax.configuration.fine_tuned_run import FineTuned, is_fine_tuned, load_fine_tuned
from m5jax.configuration.search_sides import SearchSides
from m5jax.data.attributes import SEPARATORS
from m5jax.data.serialize import plain_text
from m5jax.errors import UserError, unknown_name
from m5jax.evaluation.reports import write_evaluation
from m5jax.finetuning.scoring import Scorer
from m5jax.finetuning.search_assessment import SearchAssessment, SystemResult
from m5jax.finetuning.search_systems import (
    DEPTH,
    FETCHED,
    Found,
    Lexical,
    System,
    Towers,
    embed_by_sentence_transformer,
    embed_texts,
    found_among_all,
    found_among_judged,
    load_sentence_transformer,
    recall_of_exact,
    search_by_index,
)
from m5jax.finetuning.tasks import JointTask, TwoTowerTask

BM25 = "bm25"
CANDIDATES = ("judged", "all")
INDICES = ("hnsw", "ivf")
_SENTENCE_TRANSFORMER = "modules.json"


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What is searched, and what else searches it.

    Attributes:
      candidates: "judged": the documents of each query's rows are ranked; "all": the best of all documents are found;
        empty: all, or of a model that reads both sides together the judged ones.
      documents: files of documents beside the right sides of the data.
      baselines: "bm25", fine-tuned runs, folders of sentence-transformers.
      indices: kinds of FAISS index by which the run searches too.
      dimensions: to which the run's embeddings are cut too.
    """

    candidates: str = ""
    documents: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    indices: tuple[Literal["hnsw", "ivf"], ...] = ()
    dimensions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.candidates and self.candidates not in CANDIDATES:
            raise unknown_name("--candidates", self.candidates, CANDIDATES)
        for kind in self.indices:
            if kind not in INDICES:
                raise unknown_name("--index", kind, INDICES)
        for name in ("indices", "dimensions"):
            given = getattr(self, name)
            if len(set(given)) < len(given):
                raise UserError(f"{name} are {', '.join(map(str, given))}; allowed: each once")
        if any(size < 1 for size in self.dimensions):
            raise UserError(f"dimensions are {', '.join(map(str, self.dimensions))}; allowed: 1 and above")

    def of_run(self, tuned: FineTuned) -> "SearchSettings":
        """Returns the settings with the candidates of a run's task; raises UserError where it cannot rank as asked."""
        task = tuned.config.task
        if not isinstance(task, (TwoTowerTask, JointTask)):
            raise UserError(
                f"--kind=search is of runs of TwoTowerTask or JointTask, not {type(task).__name__}; leave it away"
            )
        candidates = self.candidates or ("judged" if isinstance(task, JointTask) else "all")
        if candidates == "judged" and (self.documents or self.indices):
            raise UserError("--documents and --index are of --candidates=all")
        most = tuned.model.config.size if is_searchable(task) else 0
        if max(self.dimensions, default=0) > most:
            raise UserError(f"embeddings of {most} dimensions cannot be cut to {max(self.dimensions)}")
        check_candidates(task, candidates, "the run")
        return dataclasses.replace(self, candidates=candidates)


def is_searchable(task: object) -> bool:
    """Whether a model has embeddings of each side, whose nearest can be searched."""
    return isinstance(task, TwoTowerTask) and task.similarity != "mlp"


def check_candidates(task: object, candidates: str, what: str) -> None:
    """Raises UserError where the model of `what` cannot rank such candidates."""
    if not is_searchable(task) and (candidates == "all" or not isinstance(task, (TwoTowerTask, JointTask))):
        raise UserError(
            f"{what} is of {type(task).__name__} without embeddings to search; allowed: pairs, with --candidates=judged"
        )


def evaluate_search(run_dir: Path, settings: EvaluationSettings, asked: SearchSettings) -> str:
    """Evaluates a fine-tuned run as a search, writes `RUN_DIR/evaluations/NAME` and returns the table.

    Raises:
      UserError: as `evaluate_fine_tuned`; or the run or a baseline cannot do what is asked, or no query has a relevant
        document.
    """
    folder = folder_of(run_dir, settings)
    name = run_dir.resolve().name
    baselines = name_baselines(asked.baselines, name)
    tuned = load_fine_tuned(run_dir, settings.step)
    asked = asked.of_run(tuned)
    sides = SearchSides(tuned, settings, asked.documents, folder)
    sides.check_held_out(tuned)
    comparison = _Comparison(settings, asked, sides)
    # Baselines first, since they are more often not as they must be.
    beside = [comparison.baseline(*baseline) for baseline in baselines.items()]
    results = [*comparison.run(name, tuned), *beside]
    assessment = SearchAssessment(sides.data, asked.candidates, results, settings.samples, settings.seed)
    report = assessment.report(f"{name} on {settings.name}", _facts(tuned, settings, asked, sides))
    write_evaluation(folder, report, assessment.predictions())
    return summary(report, folder)


def name_baselines(given: tuple[str, ...], run: str) -> dict[str, str]:
    """Returns the baselines by the names that they have beside the run; raises UserError for what is none."""
    named: dict[str, str] = {}
    for baseline in given:
        path = Path(baseline)
        if baseline != BM25 and not (path / _SENTENCE_TRANSFORMER).is_file() and not _is_run(path):
            raise UserError(
                f"--baseline={baseline} is no baseline; allowed: {BM25}, the directory of a fine-tuned run, or a "
                f"folder of sentence-transformers, which has {_SENTENCE_TRANSFORMER}"
            )
        name = baseline if baseline == BM25 else path.resolve().name
        name = baseline if name in (run, *named) else name
        if name in (run, *named):
            raise UserError(f"--baseline={baseline} is there twice, or is the run itself")
        named[name] = baseline
    return named


def _is_run(path: Path) -> bool:
    try:
        return is_fine_tuned(path)
    except UserError:
        return False


@dataclasses.dataclass(frozen=True)
class _Comparison:
    """Systems that rank the same candidates."""

    settings: EvaluationSettings
    asked: SearchSettings
    sides: SearchSides

    def run(self, name: str, tuned: FineTuned) -> Iterator[SystemResult]:
        """Yields what the run finds: exactly, by embeddings that are cut, and by indices."""
        data = self.sides.data
        if not is_searchable(tuned.config.task):
            yield SystemResult(name, self._read_together(tuned))
            return
        towers = self._towers(tuned)
        system = towers.system()
        if self.asked.candidates == "judged":
            yield SystemResult(name, self._found(system))
        else:
            exact = system.search(FETCHED)
            yield SystemResult(name, found_among_all(data, exact))
            for kind in self.asked.indices:
                ranking = search_by_index(system, kind, FETCHED)
                further = {f"recall_of_exact@{DEPTH}": recall_of_exact(ranking, exact, DEPTH)}
                yield SystemResult(f"{name} ({kind})", found_among_all(data, ranking), further)
        for size in self.asked.dimensions:
            yield SystemResult(f"{name} ({size})", self._found(towers.system(size)))

    def baseline(self, name: str, given: str) -> SystemResult:
        """Returns what a baseline finds."""
        if given != BM25 and _is_run(Path(given)):
            tuned = load_fine_tuned(Path(given))
            check_candidates(tuned.config.task, self.asked.candidates, f"--baseline={given}")
            self.sides.check_held_out(tuned)
            searchable = is_searchable(tuned.config.task)
            return SystemResult(
                name, self._found(self._towers(tuned).system()) if searchable else self._read_together(tuned)
            )
        queries, documents = ([plain_text(text) for text in side] for side in self.sides.texts(SEPARATORS))
        if given == BM25:
            return SystemResult(name, self._found(Lexical(queries, documents)))
        encoder = load_sentence_transformer(Path(given))
        system = embed_by_sentence_transformer(encoder, queries, documents, self.settings.batch_size)
        return SystemResult(name, self._found(system))

    def _found(self, system: System) -> Found:
        data = self.sides.data
        if self.asked.candidates == "all":
            return found_among_all(data, system.search(FETCHED))
        return found_among_judged(data, system.scores(data.judged))

    def _towers(self, tuned: FineTuned) -> Towers:
        assert isinstance(tuned.config.task, TwoTowerTask)
        scorer = Scorer(tuned.model, tuned.mesh, self.settings.batch_size)
        left, right = (
            embed_texts(scorer, tuned.parameters, tuned.tokenizer, tuned.config.length, texts, is_right)
            for texts, is_right in zip(self.sides.texts(tuned.attributes), (False, True), strict=True)
        )
        return Towers(scorer, tuned.parameters, tuned.config.task.similarity, left, right)

    def _read_together(self, tuned: FineTuned) -> Found:
        """Returns the judged documents as a model ranks them that has no embeddings to search."""
        answers = answer_examples(tuned, self.sides.judged(tuned.attributes), self.settings.batch_size)
        return found_among_judged(self.sides.data, answers.scores)


def _facts(tuned: FineTuned, settings: EvaluationSettings, asked: SearchSettings, sides: SearchSides) -> dict[str, str]:
    facts, data = facts_of(tuned, settings, sides.examples), sides.data
    facts.pop("threshold", None)
    facts["fingerprint"] = data.fingerprint(asked.candidates)
    facts["queries"] = f"{len(data.queries):,}"
    facts["documents"] = f"{len(data.documents):,}"
    facts |= {"further documents": ", ".join(asked.documents)} if asked.documents else {}
    facts |= {"baselines": ", ".join(asked.baselines)} if asked.baselines else {}
    searched = f"all documents, of which the best {DEPTH} of each query count"
    facts["candidates"] = searched if asked.candidates == "all" else f"{len(data.judged):,} judged documents"
    facts["relevant"] = f"grade {data.relevant_from:g} and above, less the lowest one"
    return facts
