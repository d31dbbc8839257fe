"""Names of the files of a run directory. Needs neither gin nor jax."""

CONFIG = "config.gin"
ATTRIBUTES = "attributes.json"
VOCABULARY = "vocabulary/sentencepiece.model"
LABELS = "vocabulary/labels.json"
