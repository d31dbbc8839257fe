"""Which callables a gin file can name. Everything configurable is a frozen dataclass that checks its own values."""

import gin

from m5jax.configuration.run import DataConfig, Run
from m5jax.data.masking_policy import MaskingPolicy
from m5jax.data.mixing import Proportional, UniMax
from m5jax.data.preparation.filters import QualityFilters
from m5jax.data.preparation.language import LanguageIdentification
from m5jax.data.preparation.near_duplicates import NearDuplicates
from m5jax.data.preparation.settings import Preparation
from m5jax.models import DecoderConfig, EncoderConfig, EncoderDecoderConfig, LongContext, MaximalUpdate
from m5jax.objectives import LanguageModel, SequenceToSequence
from m5jax.training.checkpoints import KeepPolicy
from m5jax.training.loop import TrainerConfig
from m5jax.training.optimizers import Adafactor, AdamW
from m5jax.training.schedules import Cosine, InverseSquareRoot, WarmupStableDecay
from partitioning import MeshConfig

CONFIGURABLES: dict[str, type] = {
    configurable.__name__: configurable
    for configurable in (
        Adafactor,
        AdamW,
        Cosine,
        DataConfig,
        DecoderConfig,
        EncoderConfig,
        EncoderDecoderConfig,
        InverseSquareRoot,
        KeepPolicy,
        LanguageIdentification,
        LanguageModel,
        LongContext,
        MaskingPolicy,
        MaximalUpdate,
        MeshConfig,
        NearDuplicates,
        Preparation,
        Proportional,
        QualityFilters,
        Run,
        SequenceToSequence,
        TrainerConfig,
        UniMax,
        WarmupStableDecay,
    )
}

for _configurable in CONFIGURABLES.values():
    gin.external_configurable(_configurable)
