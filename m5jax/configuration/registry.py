"""Which callables a gin file can name. Everything configurable is a frozen dataclass that checks its own values."""

import gin

from m5jax.configuration.fine_tuning import FineTuning
from m5jax.configuration.run import DataConfig, Run
from m5jax.data.masking_policy import MaskingPolicy
from m5jax.data.mixing import Proportional, UniMax
from m5jax.data.preparation.filters import QualityFilters
from m5jax.data.preparation.language import LanguageIdentification
from m5jax.data.preparation.near_duplicates import NearDuplicates
from m5jax.data.preparation.settings import Preparation
from m5jax.finetuning.ngrams import HashedNgrams
from m5jax.finetuning.tasks import (
    ClassificationTask,
    JointTask,
    PairLabels,
    RegressionTask,
    TextToTextTask,
    TwoTowerTask,
    UtteranceTask,
)
from m5jax.models import (
    DecoderConfig,
    EncoderConfig,
    EncoderDecoderConfig,
    LongContext,
    LowRankAdapters,
    MaximalUpdate,
)
from m5jax.objectives import (
    Classification,
    InBatchContrastive,
    LanguageModel,
    PairCrossEntropy,
    PairObjective,
    Regression,
    SequenceToSequence,
    SupervisedContrastive,
    ThreePartHinge,
    TripletMargin,
    YesOrNo,
)
from m5jax.retrieval.approximate import IndexSettings
from m5jax.retrieval.hard_negative_settings import HardNegativeSettings
from m5jax.training.fine_tuned_part import FineTunedPart
from m5jax.training.keep_policy import KeepPolicy
from m5jax.training.loop import TrainerConfig
from m5jax.training.optimizers import Adafactor, AdamW
from m5jax.training.schedules import Cosine, InverseSquareRoot, WarmupStableDecay
from partitioning import MeshConfig

CONFIGURABLES: dict[str, type] = {
    configurable.__name__: configurable
    for configurable in (
        Adafactor,
        AdamW,
        Classification,
        ClassificationTask,
        Cosine,
        DataConfig,
        DecoderConfig,
        EncoderConfig,
        EncoderDecoderConfig,
        FineTunedPart,
        FineTuning,
        HardNegativeSettings,
        HashedNgrams,
        InBatchContrastive,
        IndexSettings,
        InverseSquareRoot,
        JointTask,
        KeepPolicy,
        LanguageIdentification,
        LanguageModel,
        LongContext,
        LowRankAdapters,
        MaskingPolicy,
        MaximalUpdate,
        MeshConfig,
        NearDuplicates,
        PairCrossEntropy,
        PairLabels,
        PairObjective,
        Preparation,
        Proportional,
        QualityFilters,
        Regression,
        RegressionTask,
        Run,
        SequenceToSequence,
        SupervisedContrastive,
        TextToTextTask,
        ThreePartHinge,
        TrainerConfig,
        TripletMargin,
        TwoTowerTask,
        UniMax,
        UtteranceTask,
        WarmupStableDecay,
        YesOrNo,
    )
}

for _configurable in CONFIGURABLES.values():
    gin.external_configurable(_configurable)
