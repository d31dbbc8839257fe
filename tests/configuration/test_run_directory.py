import pytest

from m5jax.configuration.run_directory import (
    LOCK,
    begun,
    check_run_directory,
    check_seen,
    keep_vocabulary,
    model_differences,
)
from m5jax.configuration.run_files import CONFIG, VOCABULARY
from m5jax.errors import UserError

CONFIG_TEXT = "TRAIN_STEPS = 20\nEncoderConfig.width = 64\nTrainerConfig.steps = %TRAIN_STEPS\nTrainerConfig.seed = 0\n"


def prepare_run_directory(directory, config):
    changes = check_run_directory(directory, config)
    with begun(directory, config):
        return changes


def test_new_directory_gets_the_config(tmp_path):
    assert prepare_run_directory(tmp_path / "runs" / "a", CONFIG_TEXT) == []
    assert (tmp_path / "runs" / "a" / CONFIG).read_text(encoding="utf-8") == CONFIG_TEXT


def test_same_config_resumes_whatever_its_order(tmp_path):
    prepare_run_directory(tmp_path, CONFIG_TEXT)
    reordered = "".join(f"{line}\n" for line in reversed(CONFIG_TEXT.splitlines()))
    assert prepare_run_directory(tmp_path, reordered) == []


def test_a_longer_run_is_a_change_that_is_said(tmp_path):
    prepare_run_directory(tmp_path, CONFIG_TEXT)
    changes = prepare_run_directory(tmp_path, CONFIG_TEXT.replace("TRAIN_STEPS = 20", "TRAIN_STEPS = 40"))
    assert changes == ["TRAIN_STEPS: 20 there, 40 now"]


def test_every_process_has_to_see_the_config(tmp_path, monkeypatch):
    monkeypatch.setattr("m5jax.configuration.run_directory.SECONDS_TO_SEE", 0)
    with pytest.raises(UserError, match="RUN_DIR must be on storage that all hosts share"):
        check_seen(tmp_path, CONFIG_TEXT)
    # What comes late is waited for.
    monkeypatch.setattr("m5jax.configuration.run_directory.SECONDS_TO_SEE", 60)
    monkeypatch.setattr("time.sleep", lambda seconds: prepare_run_directory(tmp_path, CONFIG_TEXT))
    check_seen(tmp_path, CONFIG_TEXT)


def test_where_and_how_a_model_is_computed_may_change(tmp_path):
    prepare_run_directory(tmp_path, CONFIG_TEXT + "EncoderConfig.remat = 'none'\n")
    now = "EncoderConfig.remat = 'full'\nEncoderConfig.pipeline_rounds = 2\nMeshConfig.pipeline = 4\n"
    changes = prepare_run_directory(tmp_path, CONFIG_TEXT + now)
    assert [change.partition(":")[0] for change in changes] == [
        "EncoderConfig.pipeline_rounds",
        "EncoderConfig.remat",
        "MeshConfig.pipeline",
    ]


def test_a_run_from_before_an_option_has_its_default(tmp_path):
    options = "EncoderConfig.norm = 'layer'\nEncoderConfig.kv_heads = None\nEncoderConfig.rotary_theta = 10000.0\n"
    prepare_run_directory(tmp_path, CONFIG_TEXT)
    assert prepare_run_directory(tmp_path, CONFIG_TEXT + options) == []
    assert prepare_run_directory(tmp_path, CONFIG_TEXT) == []
    with pytest.raises(UserError, match=r"EncoderConfig\.norm: 'layer' there, 'rms' now"):
        prepare_run_directory(tmp_path, CONFIG_TEXT + options.replace("layer", "rms"))


def test_a_run_from_before_a_macro_is_compared_by_what_the_macro_stands_for(tmp_path):
    prepare_run_directory(tmp_path, CONFIG_TEXT + "Run.initial_run = ''\n")
    now = "INITIAL_RUN = ''\nRun.initial_run = %INITIAL_RUN\n"
    assert prepare_run_directory(tmp_path, CONFIG_TEXT + now) == []
    assert prepare_run_directory(tmp_path, CONFIG_TEXT) == []
    assert prepare_run_directory(tmp_path, CONFIG_TEXT + now) == []
    with pytest.raises(UserError, match=r"\(INITIAL_RUN: '' there, 'runs/a' now\)"):
        prepare_run_directory(tmp_path, CONFIG_TEXT + now.replace("''", "'runs/a'"))
    prepare_run_directory(tmp_path / "old", CONFIG_TEXT)
    with pytest.raises(UserError, match=r"\(Run\.initial_run: '' there, 'runs/a' now\)"):
        prepare_run_directory(tmp_path / "old", CONFIG_TEXT + now.replace("''", "'runs/a'"))


def test_differences_of_models_leave_out_what_changes_no_result(tmp_path):
    prepare_run_directory(tmp_path, CONFIG_TEXT)
    now = "EncoderConfig.remat = 'full'\nEncoderConfig.norm = 'rms'\nTRAIN_STEPS = 5\n"
    assert model_differences(tmp_path, CONFIG_TEXT + now) == ["EncoderConfig.norm: 'layer' there, 'rms' now"]


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("width = 64", "width = 32", "EncoderConfig.width: 64 there, 32 now"),
        ("seed = 0", "seed = 1", "TrainerConfig.seed: 0 there, 1 now"),
        ("EncoderConfig.width = 64\n", "", "EncoderConfig.width: 64 there, unset now"),
    ],
)
def test_another_config_is_refused_with_the_difference_and_not_overwritten(tmp_path, old, new, difference):
    prepare_run_directory(tmp_path, CONFIG_TEXT)
    with pytest.raises(UserError) as error:
        prepare_run_directory(tmp_path, CONFIG_TEXT.replace(old, new))
    assert difference in str(error.value)
    assert (tmp_path / CONFIG).read_text(encoding="utf-8") == CONFIG_TEXT
    assert {path.name for path in tmp_path.iterdir()} == {CONFIG, LOCK}


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(UserError, match=r"holds files but no config\.gin"):
        prepare_run_directory(tmp_path, CONFIG_TEXT)


def test_unwritable_directory_is_one_line(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write the run directory"):
        prepare_run_directory(tmp_path / "file" / "run", CONFIG_TEXT)
    with pytest.raises(UserError, match="is a file"):
        prepare_run_directory(tmp_path / "file", CONFIG_TEXT)


def test_vocabulary_is_kept_once_and_another_is_refused(tmp_path):
    first, second = tmp_path / "first.model", tmp_path / "second.model"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    run = tmp_path / "run"
    assert keep_vocabulary(run, first) == run / VOCABULARY
    assert keep_vocabulary(run, first).read_bytes() == b"one"
    with pytest.raises(UserError, match="is not the vocabulary"):
        keep_vocabulary(run, second)
    assert (run / VOCABULARY).read_bytes() == b"one"


def test_two_processes_cannot_train_in_one_directory(tmp_path):
    refused = pytest.raises(UserError, match="another process is training")
    with begun(tmp_path, CONFIG_TEXT), refused, begun(tmp_path, CONFIG_TEXT):
        pass
    with begun(tmp_path, CONFIG_TEXT):
        pass


def test_a_run_that_began_meanwhile_keeps_its_config(tmp_path):
    assert check_run_directory(tmp_path, other := CONFIG_TEXT.replace("seed = 0", "seed = 1")) == []
    prepare_run_directory(tmp_path, CONFIG_TEXT)
    with pytest.raises(UserError, match=r"TrainerConfig\.seed: 0 there, 1 now"), begun(tmp_path, other):
        pass
    assert (tmp_path / CONFIG).read_text(encoding="utf-8") == CONFIG_TEXT


def test_a_directory_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="cannot write the run directory"),
        begun(tmp_path / "file" / "run", CONFIG_TEXT),
    ):
        pass
