"""A fine-tuning, described: what gin binds and everything else reads."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from m5jax.errors import UserError, check_least
from m5jax.finetuning.ngrams import HashedNgrams
from m5jax.finetuning.overlap import POLICIES
from m5jax.finetuning.tasks import (
    ClassificationTask,
    JointTask,
    RegressionTask,
    TextToTextTask,
    TwoTowerTask,
    UtteranceTask,
)
from m5jax.models import EncoderConfig, EncoderDecoderConfig
from m5jax.objectives import Classification, PairObjective, Regression, SequenceToSequence, YesOrNo
from m5jax.retrieval.hard_negative_settings import HardNegativeSettings
from m5jax.training.fine_tuned_part import FineTunedPart
from m5jax.training.optimizers import Optimizer
from partitioning import MeshConfig

_OBJECTIVES: Mapping[type, type] = {
    TwoTowerTask: PairObjective,
    JointTask: YesOrNo,
    ClassificationTask: Classification,
    UtteranceTask: Classification,
    RegressionTask: Regression,
    TextToTextTask: SequenceToSequence,
}


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """One fine-tuning.

    Attributes:
      run_dir: everything that it writes.
      pretrained: run directory whose vocabulary, way of writing products and parameters it begins with; empty for a
        model that has none (a bag of n-grams).
      train, valid: files of labelled rows; the best checkpoint is chosen on the second.
      task: what a row holds and the model says.
      objective: the loss.
      encoder: of the model, or the whole of an encoder-decoder; `m5jax finetune` takes it from `pretrained`.
      negatives: how hard negatives of pairs that fit are mined; None: there are none but those of the batch.
      refresh_every: steps between minings.
      optimizer: whose schedule may leave its `total_steps` 0: those of this fine-tuning.
      part: what of the pre-trained model is trained.
      mesh: of devices.
      columns: of the files, by field, where they have other names; `defaults`: for fields that rows leave empty.
      from_scratch: parameters are drawn; only the vocabulary and the model's shape are those of `pretrained`.
      length: most tokens of a text, or of texts that are read together.
      batch_size: examples a step, over all devices.
      epochs: how often each example is seen.
      steps: instead of epochs; 0: by these.
      evaluate_every: steps between evaluations, each with a checkpoint; 0: at the end of each epoch.
      accumulation: parts each batch is computed in.
      dropout_rate: of the encoder; None: as it was pre-trained.
      overlap: of training and validation examples of the same texts: "refuse", "allow", or "drop" from the training.
      select: metric on the validation data by which the best checkpoint is chosen; empty: the task's.
      seed: of heads, order and dropout.
      log_every: steps a line in `metrics.jsonl`.
    """

    run_dir: str
    train: tuple[str, ...]
    valid: tuple[str, ...]
    task: TwoTowerTask | JointTask | ClassificationTask | RegressionTask | UtteranceTask | TextToTextTask
    objective: PairObjective | YesOrNo | Classification | Regression | SequenceToSequence
    encoder: EncoderConfig | HashedNgrams | EncoderDecoderConfig
    optimizer: Optimizer
    negatives: HardNegativeSettings | None = None
    refresh_every: int = 500
    pretrained: str = ""
    part: FineTunedPart = FineTunedPart()  # noqa: RUF009 (immutable)
    mesh: MeshConfig = MeshConfig()  # noqa: RUF009 (immutable)
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, str] = dataclasses.field(default_factory=dict)
    from_scratch: bool = False
    length: int = 256
    batch_size: int = 32
    epochs: float = 10.0
    steps: int = 0
    evaluate_every: int = 0
    accumulation: int = 1
    dropout_rate: float | None = 0.1
    overlap: str = "refuse"
    select: str = ""
    seed: int = 0
    log_every: int = 10

    def __post_init__(self) -> None:
        if not self.run_dir:
            raise UserError("no run directory; add --run_dir=runs/NAME")
        if not self.train or not self.valid:
            raise UserError("files of training and of validation rows are needed; add --train=FILE and --valid=FILE")
        check_least(self, length=2, steps=0, evaluate_every=0, batch_size=1, accumulation=1, refresh_every=1)
        if not self.steps and self.epochs <= 0:
            raise UserError(f"FineTuning.epochs = {self.epochs}; allowed: above 0")
        if self.overlap not in POLICIES:
            raise UserError(f"FineTuning.overlap = {self.overlap!r}; allowed: {', '.join(POLICIES)}")
        self._check_parts()

    def _check_parts(self) -> None:
        needed = _OBJECTIVES[type(self.task)]
        if not isinstance(self.objective, needed):
            raise UserError(
                f"{type(self.task).__name__} is trained by {needed.__name__}, not {type(self.objective).__name__}"
            )
        if isinstance(self.encoder, EncoderDecoderConfig) != isinstance(self.task, TextToTextTask):
            raise UserError(
                f"{type(self.task).__name__} does not go with a model of {type(self.encoder).__name__}; TextToTextTask "
                "needs a pre-trained encoder-decoder, the other tasks an encoder"
            )
        if isinstance(self.encoder, HashedNgrams) != (not self.pretrained):
            raise UserError("a run to begin with is needed, and only HashedNgrams has none; add --from=RUN")
        if isinstance(self.encoder, HashedNgrams) and (self.part.layers is not None or self.part.adapters is not None):
            raise UserError("FineTunedPart.layers and adapters are of pre-trained models; HashedNgrams is none")
        if isinstance(self.encoder, EncoderConfig) and self.length > self.encoder.max_length:
            raise UserError(
                f"FineTuning.length = {self.length} is over the encoder's maximum, {self.encoder.max_length}"
            )
        if self.negatives is not None and not isinstance(self.task, TwoTowerTask):
            raise UserError("FineTuning.negatives are of TwoTowerTask, whose sides are embedded each by itself")
        if isinstance(self.objective, PairObjective) and self.accumulation > 1 and self.objective.is_of_whole_batch:
            raise UserError(
                "FineTuning.accumulation would take negatives away from losses over whole batches; set "
                "PairObjective.embedding_parts instead"
            )

    @property
    def directory(self) -> Path:
        return Path(self.run_dir)
