"""The tasks that come with m5jax."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def test_all_tasks_are_registered_without_data() -> None:
    import seqio

    import tasks

    assert {module.__name__ for module in (tasks.embedded_catalog, tasks.real_text, tasks.web_text)} == {
        "tasks.embedded_catalog",
        "tasks.real_text",
        "tasks.web_text",
    }
    assert {"embedded_catalog_mlm", "multilingual_text_mlm", "debian_catalogue_mlm", "products_mlm"} <= set(
        seqio.MixtureRegistry.names()
    )


def test_tasks_on_real_text_name_the_variable_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    import tasks  # noqa: F401
    from m5jax.data.pipeline import training_batches
    from m5jax.errors import UserError

    monkeypatch.delenv("M5JAX_DATA", raising=False)
    with pytest.raises(UserError, match="environment variable M5JAX_DATA"):
        training_batches("multilingual_text_mlm", length=128, batch_size=2, seed=0)


def test_the_embedded_catalog_trains_and_evaluates_with_a_vocabulary_of_its_own() -> None:
    import tasks  # noqa: F401
    from m5jax.data.default_vocabulary import default_vocabulary
    from m5jax.data.evaluation_batches import evaluation_batches, evaluation_tasks
    from m5jax.data.pipeline import training_batches
    from m5jax.data.vocabulary import set_current_vocabulary

    set_current_vocabulary(default_vocabulary("embedded_catalog_mlm"))
    batch = next(training_batches("embedded_catalog_mlm", length=128, batch_size=4, seed=0))
    assert batch["inputs"].shape == (4, 128)
    held_out = evaluation_tasks("embedded_catalog_mlm")
    assert set(held_out) == {"en", "de", "ar"}
    for task in held_out.values():
        assert sum(batch["loss_weights"].sum() for batch in evaluation_batches(task, length=128, batch_size=16)) > 1000


def test_every_kind_of_task_of_the_embedded_catalog_gives_batches() -> None:
    import seqio

    import tasks  # noqa: F401
    from m5jax.data.default_vocabulary import default_vocabulary
    from m5jax.data.evaluation_batches import evaluation_batches
    from m5jax.data.labels import mixture_labels
    from m5jax.data.mixtures import find_tasks
    from m5jax.data.vocabulary import set_current_vocabulary

    mixtures = [name for name in seqio.MixtureRegistry.names() if name.startswith("embedded_catalog_")]
    assert len(mixtures) >= 15
    # Languages are read alike: of each family one of them, in turn. What experiments mix is of the same tasks.
    mixed = {"embedded_catalog_multitask", "embedded_catalog_search"}
    families = [sorted(task.name for task in find_tasks(name)) for name in sorted({*mixtures} - mixed)]
    for name in (own[number % len(own)] for number, own in enumerate(families)):
        set_current_vocabulary(default_vocabulary(name), mixture_labels(name))
        batch = next(evaluation_batches(name, length=128, targets_length=90, batch_size=4, split="train"))
        assert batch["inputs"].shape == (4, 128), name
        assert batch["loss_weights"].sum() > 0, name
