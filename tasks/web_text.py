"""C4, mC4 and Wikipedia as TensorFlow Datasets prepares them, read live from the folder that TFDS_DATA_DIR names.

    c4_OBJECTIVE, c4_en_OBJECTIVE                    c4/en (arXiv 1910.10683)
    mc4_OBJECTIVE, mc4_LANGUAGE_OBJECTIVE            c4/multilingual, 101 languages (arXiv 2010.11934)
    wikipedia_OBJECTIVE, wikipedia_LANGUAGE_OBJECTIVE    wikipedia/20230601.LANGUAGE, the languages of mC4

for each of `OBJECTIVES` (mlm, ul2, ...). How to get them, their size and licence:

    c4/en            `tfds build c4 --config=en`; 365 million pages, 830 GB; ODC-BY and the terms of Common Crawl. Made
                     with Apache Beam from a whole dump of Common Crawl: a cluster's work.
    c4/multilingual  `tfds build c4 --config=multilingual`; the same from 86 dumps. Both are published in finished form,
                     as compressed JSON lines (305 GB and 9.7 TB, `allenai/c4`); such a folder, or some of its
                     languages, is ingested as tasks/README.md shows.
    wikipedia        `tfds build wikipedia --config=20230601.de`; a download of 20 GB for English, less for others;
                     CC BY-SA 3.0. It has no validation split: its last hundredth is one.

Registering reads nothing. Languages of Wikipedia beyond these, or other text of TFDS: `add_tfds_text_tasks`.
"""

from m5jax.data.tfds_text import TfdsTextSource, add_tfds_text_tasks

# The codes of CLD3, which sorted the pages. Six stand for a language in Latin letters beside its own script, so these
# are 107 of 101 languages; "iw" is Hebrew.
# fmt: off
MC4_LANGUAGES = (
    "af", "am", "ar", "az", "be", "bg", "bg-Latn", "bn", "ca", "ceb", "co", "cs", "cy", "da", "de", "el", "el-Latn",
    "en", "eo", "es", "et", "eu", "fa", "fi", "fil", "fr", "fy", "ga", "gd", "gl", "gu", "ha", "haw", "hi",
    "hi-Latn", "hmn", "ht", "hu", "hy", "id", "ig", "is", "it", "iw", "ja", "ja-Latn", "jv", "ka", "kk", "km", "kn",
    "ko", "ku", "ky", "la", "lb", "lo", "lt", "lv", "mg", "mi", "mk", "ml", "mn", "mr", "ms", "mt", "my", "ne",
    "nl", "no", "ny", "pa", "pl", "ps", "pt", "ro", "ru", "ru-Latn", "sd", "si", "sk", "sl", "sm", "sn", "so", "sq",
    "sr", "st", "su", "sv", "sw", "ta", "te", "tg", "th", "tr", "uk", "ur", "uz", "vi", "xh", "yi", "yo", "zh",
    "zh-Latn", "zu",
)
# fmt: on
# Hmong has no Wikipedia; Hebrew and Filipino have other codes there.
WIKIPEDIA_LANGUAGES = tuple(
    {"iw": "he", "fil": "tl"}.get(language, language)
    for language in MC4_LANGUAGES
    if not language.endswith("-Latn") and language != "hmn"
)
WIKIPEDIA_DUMP = "20230601"

_C4_EN = TfdsTextSource(
    "c4/en:3.*.*",
    "en",
    {"train": "train", "validation": "validation"},
    "tfds build c4 --config=en makes it, 830 GB, with Apache Beam on a cluster",
)
_MC4 = [
    TfdsTextSource(
        "c4/multilingual:3.*.*",
        language,
        {"train": language, "validation": f"{language}-validation"},
        "tfds build c4 --config=multilingual makes it, with Apache Beam on a cluster; compressed text of 9.7 TB",
    )
    for language in MC4_LANGUAGES
]
_WIKIPEDIA = [
    TfdsTextSource(
        f"wikipedia/{WIKIPEDIA_DUMP}.{language}:1.*.*",
        language,
        {"train": "train[:99%]", "validation": "train[99%:]"},
        f"tfds build wikipedia --config={WIKIPEDIA_DUMP}.{language} makes it, with Apache Beam; "
        "English is a download of 20 GB, others less",
    )
    for language in WIKIPEDIA_LANGUAGES
]

add_tfds_text_tasks("c4", [_C4_EN])
add_tfds_text_tasks("mc4", _MC4)
add_tfds_text_tasks("wikipedia", _WIKIPEDIA)
