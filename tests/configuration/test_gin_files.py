import gin
import pytest

from m5jax.configuration.gin_files import REPOSITORY, find_gin_file, parse_gin, read_bindings
from m5jax.configuration.load import load_preparation
from m5jax.errors import UserError

QUICKSTART = "gin_configs/experiments/quickstart.gin"


def write(tmp_path, text):
    path = tmp_path / "run.gin"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_command_line_wins_over_files():
    parse_gin([QUICKSTART], ["TRAIN_STEPS=7", "EncoderConfig.width=64"])
    assert gin.query_parameter("%TRAIN_STEPS") == 7
    assert gin.query_parameter("EncoderConfig.width") == 64


def test_an_optional_part_may_be_named_or_be_none():
    parse_gin([QUICKSTART], ["DataConfig.masking=@MaskingPolicy()", "MaskingPolicy.rate=0.3"])
    parse_gin([QUICKSTART], ["DataConfig.masking=None"])


def test_later_file_wins(tmp_path):
    parse_gin([QUICKSTART, write(tmp_path, "EncoderConfig.layers = 9\n")])
    assert gin.query_parameter("EncoderConfig.layers") == 9


def test_read_bindings_follows_includes():
    keys = [binding.key for binding in read_bindings(find_gin_file(QUICKSTART))]
    assert {"Run.model", "EncoderConfig.width", "TRAIN_STEPS"} <= set(keys)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("TRAIN_STPES=5", "unknown gin macro 'TRAIN_STPES'; did you mean TRAIN_STEPS?"),
        ("EncoderConfig.widht=5", "unknown argument of EncoderConfig 'widht'; did you mean width?"),
        ("EncodrConfig.width=5", "unknown gin name 'EncodrConfig'; did you mean EncoderConfig"),
        ("Run.model=@EncodrConfig()", "unknown gin name 'EncodrConfig'; did you mean EncoderConfig"),
        ("EncoderConfig.width=%LENGHT", "unknown gin macro 'LENGHT'; did you mean LENGTH?"),
        ("EncoderConfig.width=((", "not valid gin"),
        ("EncoderConfig.width=3 4", "not valid gin"),
        ("EncoderConfig.width='wide'", "EncoderConfig.width = 'wide'; allowed: int"),
        ("TRAIN_STEPS=1.5", "TrainerConfig.steps = 1.5; allowed: int"),
        ("Run.model=3", "Run.model = 3; allowed: @EncoderConfig() or @EncoderDecoderConfig()"),
        ("TASK_MODULES='tasks'", "allowed: a tuple of str"),
        ("Run.optimizer=@AdamW", "Run.optimizer = @AdamW; allowed: @AdamW() or @Adafactor()"),
        ("Run.optimizer=@Cosine()", "Run.optimizer = @Cosine(); allowed: @AdamW() or @Adafactor()"),
        ("EncoderConfig.width=@EncoderConfig()", "EncoderConfig.width = @EncoderConfig(); allowed: int"),
        ("DataConfig.masking=3", "DataConfig.masking = 3; allowed: @MaskingPolicy() or None"),
        ("LanguageModel.task_weights={'a': 'b'}", "{'a': 'b'}; allowed: a mapping from str to float"),
        ("LENGTH=%LENGTH", "the macro %LENGTH is bound to itself"),
    ],
)
def test_mistakes_are_named_in_one_line(override, message):
    with pytest.raises(UserError) as error:
        parse_gin([QUICKSTART], [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_mistake_in_a_file_is_named_with_its_line(tmp_path):
    path = write(tmp_path, f"include '{QUICKSTART}'\n\nEncoderConfig.widht = 3\n")
    with pytest.raises(UserError, match=r"run\.gin:3: unknown argument of EncoderConfig 'widht'"):
        parse_gin([path])


def test_unknown_file_offers_near_matches():
    with pytest.raises(UserError, match=r"did you mean gin_configs/experiments/quickstart\.gin"):
        parse_gin(["gin_configs/experiments/quikstart.gin"])


@pytest.mark.parametrize(
    "text",
    [
        "import os\n",
        "from os import system\n",
        "from __gin__ import dynamic_registration\nimport os\nos.system.command = 'true'\n",
    ],
)
def test_files_cannot_import_code(tmp_path, text):
    with pytest.raises(UserError, match="may not import code"):
        parse_gin([write(tmp_path, text)])
    outer = tmp_path / "outer.gin"
    outer.write_text(f"include '{tmp_path / 'run.gin'}'\n", encoding="utf-8")
    with pytest.raises(UserError, match="may not import code"):
        parse_gin([str(outer)])


def test_file_that_is_not_text(tmp_path):
    path = tmp_path / "run.gin"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot read the gin file"):
        parse_gin([str(path)])


def test_a_macro_that_files_use_can_be_bound_on_the_command_line(tmp_path):
    path = write(tmp_path, f"include '{QUICKSTART}'\ninclude 'gin_configs/optimizers/adamw_wsd.gin'\n")
    with pytest.raises(UserError, match="unknown gin macro 'DECAY_STEPS'"):
        parse_gin([path])
    parse_gin([path], ["DECAY_STEPS=100"])
    assert gin.query_parameter("%DECAY_STEPS") == 100


def test_includes_that_are_absent_or_go_in_a_circle(tmp_path):
    path = write(tmp_path, "\ninclude 'absent.gin'\n")
    with pytest.raises(UserError, match=r"run\.gin:2: unknown gin file 'absent\.gin'"):
        parse_gin([path])
    write(tmp_path, f"include '{path}'\n")
    with pytest.raises(UserError, match=r"includes .*run\.gin, which includes it"):
        parse_gin([path])


PREPARATION = "gin_configs/preparation/text.gin"
RAW = ["INPUT='raw.jsonl'", "OUTPUT='out'"]


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("gin_configs/preparation/*.gin")), ids=lambda path: path.stem)
def test_preparations_load_and_say_what_is_required(path):
    assert load_preparation([str(path)], RAW).output == "out"
    with pytest.raises(UserError, match="no input is named; add --gin.INPUT="):
        load_preparation([str(path)])


def test_values_of_preparations_reach_them():
    mapping = "Preparation.column_mapping={'text': 'body'}"
    split = "INPUT={'train': ('a.jsonl', 'b.jsonl'), 'test': 'c.jsonl'}"
    found = load_preparation([PREPARATION], [*RAW, mapping, split, "LANGUAGES=('pt',)", "NearDuplicates.threshold=0.9"])
    assert found.sources == {"train": ("a.jsonl", "b.jsonl"), "test": "c.jsonl"}
    assert found.column_mapping == {"text": "body"}
    assert found.languages.languages == ("pt",)
    assert found.near_duplicates.threshold == 0.9
    assert load_preparation([PREPARATION], [*RAW, "Preparation.near_duplicates=None"]).near_duplicates is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("Preparation.column_mapping={'text': 3}", "allowed: a mapping from str to str"),
        ("Preparation.column_mapping='text'", "allowed: a mapping from str to str"),
        ("INPUT=3", "allowed: str or a tuple of str or a mapping from str to str or a tuple of str"),
        ("INPUT={'train': 3}", "Preparation.input = {'train': 3}"),
        ("Preparation.near_duplicates=@QualityFilters()", "allowed: @NearDuplicates() or None"),
        ("TrainerConfig.steps=3", "has no effect: nothing refers to @TrainerConfig()"),
        ("Preparation.kind='txt'", "did you mean text"),
    ],
)
def test_mistakes_of_preparations_are_named_in_one_line(override, message):
    with pytest.raises(UserError) as error:
        load_preparation([PREPARATION], [*RAW, override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
