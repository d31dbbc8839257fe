"""A run, described: what gin binds and everything else reads."""

import dataclasses
from pathlib import Path

from m5jax.data.masking_policy import MaskingPolicy
from m5jax.data.mixing import Proportional, UniMax
from m5jax.errors import UserError, check_least
from m5jax.models import DecoderConfig, EncoderConfig, EncoderDecoderConfig
from m5jax.objectives import LanguageModel, SequenceToSequence
from m5jax.training.loop import TrainerConfig
from m5jax.training.optimizers import Optimizer
from partitioning import MeshConfig


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Input of a run.

    Attributes:
      mixture: a registered task or mixture (`m5jax tasks list`).
      length: tokens a row; of an encoder-decoder, of inputs.
      targets_length: tokens of those for targets that are written after their inputs; 0 where all tasks are masked LM.
        Of an encoder-decoder, which has rows of their own for targets, tokens of these.
      batch_size: rows a step, over all devices.
      mixing: how languages, and other members of mixtures without fixed weights, are sampled.
      materialized: directory that `m5jax data materialize` wrote with this configuration, to read instead of the tasks'
        records, held-out ones too; empty: none.
      cache_dir: directory in which `m5jax data cache` made a cache of each task, to train from instead of the records;
        empty: none.
      masking: of the training; None: as each task was registered. Evaluation keeps the tasks' own.
      seed: of shuffling, mixing and masking.
      evaluation_examples: at most so many held-out records a language.
      replay_mixture: another registered task or mixture, such as that of `Run.initial_run`, of which some rows are and
        which is evaluated too; empty: none.
      replay: the share of these rows.
    """

    mixture: str
    length: int
    batch_size: int
    targets_length: int = 0
    mixing: Proportional | UniMax = Proportional()  # noqa: RUF009 (immutable)
    masking: MaskingPolicy | None = None
    materialized: str = ""
    cache_dir: str = ""
    seed: int = 0
    evaluation_examples: int = 1000
    replay_mixture: str = ""
    replay: float = 0.0

    def __post_init__(self) -> None:
        check_least(self, length=1, batch_size=1, evaluation_examples=1)
        if self.materialized and self.cache_dir:
            raise UserError("DataConfig.materialized and DataConfig.cache_dir are both set; train from one of them")
        if not 0.0 <= self.replay < 1.0 or (self.replay > 0.0) != bool(self.replay_mixture):
            raise UserError(
                f"DataConfig.replay = {self.replay}, replay_mixture = {self.replay_mixture!r}; allowed: a mixture with "
                "a share above 0 and below 1, or neither"
            )

    @property
    def mixtures(self) -> tuple[str, ...]:
        """The names of all that rows are of."""
        return (self.mixture, self.replay_mixture) if self.replay_mixture else (self.mixture,)


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
      run_dir: everything the run writes.
      vocabulary: path of a vocabulary made by `m5jax vocabulary train` or `extend`; empty: that of `initial_run`, or
        else the mixture's own.
      task_modules: Python modules whose import registers tasks.
      initial_run: directory of a run whose parameters this one begins with, at step 0, with an optimizer of its own;
        needed until this run has a checkpoint. Empty: parameters are drawn.
      initial_step: of the checkpoint there; None: the newest.
    """

    run_dir: str
    model: EncoderConfig | EncoderDecoderConfig | DecoderConfig
    objective: LanguageModel | SequenceToSequence
    optimizer: Optimizer
    mesh: MeshConfig
    data: DataConfig
    trainer: TrainerConfig
    vocabulary: str = ""
    task_modules: tuple[str, ...] = ("tasks",)
    initial_run: str = ""
    initial_step: int | None = None

    def __post_init__(self) -> None:
        if not self.run_dir:
            raise UserError("no run directory; add --gin.RUN_DIR=\"'runs/NAME'\"")
        if self.initial_step is not None and not self.initial_run:
            raise UserError(f"Run.initial_step = {self.initial_step} without INITIAL_RUN; name the run it is of")
        if isinstance(self.model, EncoderDecoderConfig) != self.separate_targets:
            raise UserError(
                f"{type(self.objective).__name__} does not train the model of {type(self.model).__name__}; allowed: "
                "LanguageModel with EncoderConfig and DecoderConfig, SequenceToSequence with EncoderDecoderConfig"
            )
        # An encoder-decoder has no longest sequence.
        if not isinstance(self.model, EncoderDecoderConfig) and self.data.length > self.model.max_length:
            raise UserError(
                f"DataConfig.length = {self.data.length} is over the model's maximum, "
                f"{type(self.model).__name__}.max_length = {self.model.max_length}"
            )

    @property
    def separate_targets(self) -> bool:
        """Whether targets have rows of their own."""
        return isinstance(self.objective, SequenceToSequence)

    @property
    def directory(self) -> Path:
        return Path(self.run_dir)
