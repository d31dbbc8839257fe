"""README and docs are true: their Python runs, their commands run (at a small size), their links lead somewhere."""

import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from benchmarks.real_results import page as results_page
from m5jax.cli.main import main
from m5jax.data.cache import cache_directory
from m5jax.data.embedded_catalog.writer import embedded_catalog_directory
from m5jax.studies.study_file import read_study_file
from tests.configuration.pretrained_run import encoder, pairs, write_rows, write_run
from tests.xla_flags import xla_flags

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "notebooks" / "README.md",
    REPOSITORY / "tasks" / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
SMALL = ["--gin.TRAIN_STEPS=4", "--gin.EncoderConfig.width=32", "--gin.EncoderConfig.layers=2", "--gin.BATCH_SIZE=8"]
SMALL += ["--gin.DataConfig.evaluation_examples=20", "--gin.LENGTH=64"]
EIGHT_DEVICES = "XLA_FLAGS=--xla_force_host_platform_device_count=8"
PRODUCTS = [
    {"sku": f"{language}{index}", "lang": language, "name": f"{color} {thing} {index}", "attributes": {"color": color}}
    for language, color, thing in (("en", "red", "kettle"), ("de", "rot", "Kessel"))
    for index in range(120)
]


def test_the_tables_of_results_are_the_benchmark_s():
    page = REPOSITORY / "docs" / "results.md"
    parts = json.loads(results_page.RESULT.read_text(encoding="utf-8"))["parts"]
    assert results_page.filled(page.read_text(encoding="utf-8"), parts) == page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A working directory with the inputs that the README's commands name, and a cache of its own."""
    directory = tmp_path_factory.mktemp("workshop")
    lines = "".join(json.dumps(product) + "\n" for product in PRODUCTS)
    (directory / "products.jsonl").write_text(lines, encoding="utf-8")
    cache = directory / "cache"
    cache.mkdir()
    embedded_catalog_directory()
    for known in cache_directory().glob("embedded_catalog*"):
        (cache / known.name).symlink_to(known)
    return directory


def section(title):
    return re.split(r"^## ", README, flags=re.MULTILINE)[
        next(i for i, part in enumerate(re.split(r"^## ", README, flags=re.MULTILINE)) if part.startswith(title))
    ]


def commands(text):
    """The indented `m5jax ...` lines of a text, continuation lines joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    command = re.compile(rf"    (PYTHONPATH=\S+ |{EIGHT_DEVICES} )?m5jax ")
    return [line.strip() for line in joined.splitlines() if command.match(line)]


def run(command, directory):
    """Returns what a command prints; in this process, which has imported the libraries, unless it sets a variable."""
    words = shlex.split(command)
    if words[0] == EIGHT_DEVICES:  # as this process has
        words.pop(0)
    action = words[words.index("m5jax") + 1 :]
    small = SMALL if action[0] == "train" or action[:2] == ["data", "materialize"] else []
    if words[0] != "m5jax":
        return run_apart([*words, *small], directory)
    printed = io.StringIO()
    with contextlib.chdir(directory), contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setenv("M5JAX_CACHE", str(directory / "cache"))
        assert main([*words[1:], *small]) == 0, command
    return printed.getvalue()


def run_apart(words, directory):
    environment = {**os.environ, "M5JAX_CACHE": str(directory / "cache"), "XLA_FLAGS": xla_flags(devices=1)}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    module = [sys.executable, "-m", "m5jax.cli.main"]
    done = subprocess.run([*module, *words[1:]], cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_own_catalog_and_own_task(workshop):
    catalog, task = section("Your own catalog"), section("Your own task")
    (workshop / "my_tasks.py").write_text(re.search(r"```python\n(.*?)```", catalog, re.DOTALL)[1], encoding="utf-8")
    vocabulary, train = commands(catalog)
    size = int(re.search(r"--size (\d+)", vocabulary)[1])
    model = (REPOSITORY / "gin_configs" / "models" / "encoder_1200k.gin").read_text(encoding="utf-8")
    assert size <= int(re.search(r"vocab_size = (\d+)", model)[1])  # else the quickstart's model refuses it
    run(vocabulary.replace(f"--size {size}", "--size 430"), workshop)  # as much as these few records support
    assert "de" in run(train, workshop)

    for name in ("reviews.txt", "held_out.txt"):
        (workshop / name).write_text("a red kettle that boils\n" * 50, encoding="utf-8")
    (workshop / "my_tasks.py").write_text(re.search(r"```python\n(.*?)```", task, re.DOTALL)[1], encoding="utf-8")
    (show,) = commands(task)
    assert "reviews_mlm" in run(show, workshop)


def test_the_page_of_tasks(workshop):
    page = (REPOSITORY / "tasks" / "README.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    (workshop / "shop_tasks.py").write_text(code, encoding="utf-8")
    listed = run("PYTHONPATH=. m5jax tasks list shop_ --task_module=shop_tasks", workshop)
    for name in (
        "shop_de_ul2",
        "shop_value_mlm",
        "shop_en_half",
        "shop_en_hard_mlm",
        "shop_en_brand",
        "shop_en_duplicates_text",
        "shop_en_colored",
        "shop_all",
        "shop_dialects_bar_mlm",
        "shop_reviews_ul2",
    ):
        assert name in listed
    (workshop / "reviews" / "en" / "train").mkdir(parents=True)
    (workshop / "reviews" / "en" / "train" / "0.jsonl").write_text('{"review_body": "good"}\n' * 9, encoding="utf-8")
    code = "import shop_tasks; print(shop_tasks.reviews().count('en', 'train'))"
    environment = {**os.environ, "M5JAX_CACHE": str(workshop / "cache"), "PYTHONPATH": f"{REPOSITORY}{os.pathsep}."}
    counted = subprocess.run(
        [sys.executable, "-c", code], cwd=workshop, env=environment, capture_output=True, text=True
    )
    assert counted.stdout.strip() == "9", counted.stderr


def test_commands_by_hand(workshop):
    directory = workshop / "by_hand"
    directory.mkdir()
    rows = [
        {"id": product["sku"], "language": product["lang"], "title": product["name"], "attributes": {"Color": "red"}}
        for product in PRODUCTS
    ]
    (directory / "products.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    train, evaluate, embed, search, listing, show, _, _ = commands(section("Two commands"))
    assert "accuracy" in run(train, directory)
    assert "accuracy" in run(evaluate, directory)
    assert "240 embeddings" in run(embed, directory)
    assert "similarity" in run(search, directory)
    assert "embedded_catalog_mlm" in run(listing, directory)
    assert "<mask>" in run(show, directory)
    page = (REPOSITORY / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (pretrained,) = [part for part in page.split("\n## ") if part.startswith("Pre-trained runs")]
    same, values, compare = commands(pretrained)
    assert same == evaluate
    assert "most frequent" in run(values, directory)
    shutil.copytree(directory / "runs" / "a", directory / "runs" / "b")
    assert "word_accuracy" in run(compare, directory)
    written = "checkpoints config.gin vocabulary attributes.json metrics.jsonl tensorboard summary.json report.html"
    for name in written.split():
        assert (directory / "runs" / "a" / name).exists(), name


def test_commands_of_the_training_page_run(workshop):
    text = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
    smoke, sizes, size, wide, mesh, materialize, train, second, extend = commands(text)
    assert "encoder_decoder_100b" in run(sizes, workshop)
    assert "8.03G" in run(size, workshop)
    assert "accuracy" in run(wide, workshop)
    assert "accuracy" in run(mesh, workshop)
    assert "5,000 rows" in run(materialize, workshop)
    assert "accuracy" in run(train, workshop)
    run(smoke, workshop)
    assert "embedded_catalog_en_value_mlm" in run(second, workshop)
    # As much as these few records support; the smoke run's vocabulary has 2,560 pieces.
    assert "vocabulary of 2562 pieces" in run(extend.replace("--size=4000", "--size=2562"), workshop)


def test_commands_of_the_scale_page_run(workshop):
    text = (REPOSITORY / "docs" / "scale.md").read_text(encoding="utf-8")
    plan, budget, limits, verify, launch = commands(text)
    assert "encoder_decoder_100b, 99.9B parameters, on v5p:8x8x8, 512 devices" in run(plan, workshop)
    assert "written: plan.gin" in run(budget, workshop)
    assert "layers/attention/key" in run(limits, workshop)
    if importlib.util.find_spec("libtpu"):
        assert "GiB compiled" in run(verify, workshop)
    assert "start them: sbatch run.sbatch" in run(launch, workshop)


def test_commands_of_the_data_page_run(workshop):
    directory = workshop / "data_page"
    (directory / "raw").mkdir(parents=True)
    rows = "".join(json.dumps({"text": f"{product['name']} is new here", "lang": "en"}) + "\n" for product in PRODUCTS)
    compressed = zstandard.ZstdCompressor().compress(rows.encode("utf-8"))
    (directory / "raw" / "texts.jsonl.zst").write_bytes(compressed)
    text = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    prepare, cache, train = [command for command in commands(text) if re.search("data prepare|cache", command)]
    assert "written to prepared" in run(prepare, directory)
    assert "embedded_catalog_de_mlm: 2,000 examples cached" in run(cache, directory)
    assert "accuracy" in run(train, directory)


def test_commands_of_the_fine_tuning_and_evaluation_pages_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "a", encoder())
    for name, count in (("pairs", 40), ("valid", 20)):
        write_rows(tmp_path / f"{name}.jsonl", pairs(count, count))
    for name, count in (("offers", 30), ("more_offers", 12)):
        rows = [f"{index} {thing}{index},{thing}\n" for index in range(count) for thing in ("lamp", "drill")]
        (tmp_path / f"{name}.csv").write_text("name,category\n" + "".join(rows), encoding="utf-8")
    products = [{"id": str(index), "language": "en", **row["left"]} for index, row in enumerate(pairs(60, 3))]
    write_rows(tmp_path / "products.jsonl", products)
    text = (REPOSITORY / "docs" / "fine_tuning.md").read_text(encoding="utf-8")
    towers, classes, mined, lora, made, embed, search = (shlex.split(command)[1:] for command in commands(text))
    small = [
        "--gin.FineTuning.steps=2",
        "--gin.FineTuning.batch_size=8",
        "--gin.FineTuning.length=32",
        "--overlap=drop",
    ]
    for command in (towers, classes, mined, lora):
        assert main([*command, *small]) == 0
    evaluation = (REPOSITORY / "docs" / "evaluation.md").read_text(encoding="utf-8")
    evaluate, as_search, compare = (shlex.split(command)[1:] for command in commands(evaluation)[-3:])
    write_rows(tmp_path / "test.jsonl", pairs(20, 5))
    for command in (made, embed, search, evaluate, [*evaluate, "--run=runs/lora"], as_search, compare):
        assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count("best step") == 4
    assert "pairs of 60 products written to made.jsonl" in printed
    assert "similarity" in printed
    assert re.search("bm25.*hnsw|hnsw.*bm25", printed)
    assert "p-value" in printed


def test_commands_of_the_page_of_studies_run(tmp_path, monkeypatch, capsys):
    """One run is trained; the others are its copies."""
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "docs" / "studies.md").read_text(encoding="utf-8")
    described, scaling = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    study_file = Path("gin_configs/studies/masking.gin")
    study_file.parent.mkdir(parents=True)
    small = "'--gin.DataConfig.masking=@MaskingPolicy()',"
    study_file.write_text((REPOSITORY / study_file).read_text().replace(small, f"{small} {str(SMALL)[1:-1]},"))
    status, run_, *shown, submit, any_runs, mlflow = (shlex.split(command)[1:] for command in commands(text))
    assert main([*run_, "--only=0"]) == 0
    study = read_study_file(study_file).study
    first, *others = (planned.files.run_dir for planned in study.runs)
    for directory in others:
        shutil.copytree(first, directory)
    for command in (status, run_, *shown, any_runs, mlflow):
        assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count("finished     rate=0.15, unit=word") == 3
    assert "12 finished" in printed
    assert "12 runs logged" in printed
    assert Path("masking.tex").is_file()
    assert Path("masking.png").is_file()
    assert main(submit) == 2  # as all are trained
    assert "there is nothing to submit" in capsys.readouterr().err

    assert f'"{small[1:-2]}"' in described
    found: dict = {}
    exec(described.replace(f'"{small[1:-2]}"', f'"{small[1:-2]}", *{SMALL}'), found)
    assert [run.files.run_dir for run in found["study"].runs] == [first, *others]
    exec(scaling, found)
    assert found["fitted"].law.irreducible == pytest.approx(1.7, rel=0.01)
    assert found["low"] == pytest.approx(found["best"].parameters) == pytest.approx(found["high"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    ours = r"(?:gin_configs|benchmarks|docs|m5jax|partitioning|tasks)/[\w/]+\.(?:py|gin|md|json|png)"
    for path in re.findall(ours, text):
        assert (REPOSITORY / path).exists(), path


@pytest.mark.parametrize("path", sorted((REPOSITORY / "gin_configs").rglob("*.gin")), ids=lambda path: path.name)
def test_gin_files_open_with_how_to_use_them(path):
    head = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert head.startswith("# ")
    assert re.search("gin_file=|--recipe=|m5jax study run|include it from an experiment", head)
