"""Ablation studies: many runs as one table."""

from m5jax.studies.study import Study

__all__ = ["Study"]
