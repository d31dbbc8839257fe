"""What a registered task makes of its records, as text to read: `m5jax tasks list` and `m5jax tasks show NAME`."""

import functools
import itertools
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.curation import WeightedSource
from m5jax.data.default_vocabulary import default_vocabulary
from m5jax.data.evaluation_batches import evaluation_batches
from m5jax.data.iterate import DatasetIterator
from m5jax.data.labels import mixture_labels
from m5jax.data.mixing import Proportional
from m5jax.data.mixtures import find_tasks, mixture_rates, mixture_tree, record_count, unit_count
from m5jax.data.row_shape import targets_are_aligned
from m5jax.data.token_counts import count_tokens
from m5jax.data.vocabulary import MASK_ID, current_vocabulary, set_current_vocabulary

_WIDTH = 110
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
_DEFAULT_LENGTH = 128
_MEMBERS_LISTED = 4


def list_tasks(containing: str = "") -> str:
    """Returns the registered mixtures, then the tasks, whose names contain a text. Reads no data.

    Without a text, tasks that are in a mixture are counted with it and not listed.
    """
    mixtures = {name: [task.name for task in find_tasks(name)] for name in sorted(seqio.MixtureRegistry.names())}
    lines = ["mixtures"]
    for name, members in mixtures.items():
        if containing in name:
            more = f", ... ({len(members)} tasks)" if len(members) > _MEMBERS_LISTED else ""
            lines.append(f"  {name}: {', '.join(members[:_MEMBERS_LISTED])}{more}")
    tasks = {name for name in seqio.TaskRegistry.names() if containing in name}
    listed = tasks if containing else tasks.difference(*mixtures.values())
    lines += ["tasks", *(f"  {name}" for name in sorted(listed))]
    if len(listed) < len(tasks):
        lines.append(f"  {len(tasks) - len(listed)} more are in mixtures; m5jax tasks list TEXT names those with it")
    return "\n".join(line for text in lines for line in textwrap.wrap(text, _WIDTH, subsequent_indent="      "))


def show_task(
    name: str,
    examples: int = 2,
    seed: int = 0,
    length: int = _DEFAULT_LENGTH,
    vocabulary: str | Path = "",
    unit: str = "examples",
) -> str:
    """Returns the first training examples of a task after each step, with the rates of a mixture before them and the
    first packed row of a masked-LM task after them.

    Args:
        name: a registered task or mixture; of a mixture the first task's examples are shown.
        examples: how many.
        seed: of the masks.
        length: tokens of the inputs; targets that are written have half as many more.
        vocabulary: path of the vocabulary, which becomes this process's own; empty: the default one of `name`.
        unit: that a mixture without weights is sampled by; the rates follow from the counts shown with them.

    Raises:
        UserError: an unknown name, a task without data, or no vocabulary.
    """
    tasks = find_tasks(name)
    aligned = targets_are_aligned(tasks[0])
    # Targets that are written come on top of the inputs.
    lengths = {"inputs": length, "targets": length if aligned else length // 2}
    set_current_vocabulary(vocabulary or default_vocabulary(name), mixture_labels(name))
    sections = []
    if name in seqio.MixtureRegistry.names():
        sections.append(_rates(name, tasks, Proportional(unit=unit)))
    sections.append(f"Task {tasks[0].name}, training split, inputs of {length} tokens")
    if isinstance(tasks[0].source, WeightedSource):
        sections.append(textwrap.fill(tasks[0].source.summary(), _WIDTH))
    steps = _steps(tasks[0], lengths, seed)
    sections += [_title_and_body(title, itertools.islice(rows, examples)) for title, rows in steps]
    if tasks[0].output_features.keys() >= {"inputs", "targets"}:
        targets_length = 0 if aligned else lengths["targets"]
        rows = evaluation_batches(
            tasks[0].name,
            length=length + targets_length,
            targets_length=targets_length,
            batch_size=1,
            split="train",
        )
        row = next(iter(rows))
        sections.append(_title_and_body("packed row", [_packed_row(row)]))
    return "\n\n".join(sections)


def _rates(name: str, tasks: list[seqio.Task], rule: Proportional) -> str:
    rates = mixture_rates(name, rule)
    lines = [f"Mixture {name}; where no weights are fixed: {rule}"]
    tree = mixture_tree(name, rule)
    if len(tree) > len(tasks):
        lines += [f"  {line}" for line in tree] + ["together:"]
    for task in tasks:
        records = record_count(task, "train")
        counted = f"{records:>12,} records"
        if rule.unit != "examples":
            counted += f"  {unit_count(task, 'train', rule.unit):>16,} {rule.unit}"
        if rule.unit == "tokens" and (error := count_tokens(task, "train", records).relative_error):
            counted += f" (estimated, standard error {error:.1%})"
        lines.append(f"  {task.name:<40} {counted}  p = {rates[task.name]:.4f}")
    return "\n".join(lines)


def _steps(task: seqio.Task, lengths: Mapping[str, int], seed: int) -> Iterable[tuple[str, Iterable[str]]]:
    """Yields (title, displayed examples) of the source and after each preprocessor."""
    dataset = task.source.get_dataset("train", shuffle=False)
    aligned = targets_are_aligned(task)
    yield "record", (_displayed(example, aligned) for example in DatasetIterator(dataset))
    # Where the offline cache is made nothing happens to an example.
    steps = [step for step in task.preprocessors if not isinstance(step, seqio.CacheDatasetPlaceholder)]
    for index, step in enumerate(steps, start=1):
        with seqio.utils.map_seed_manager(seed):
            step_with_arguments = seqio.utils.add_kwargs_to_transform(
                step, sequence_length=lengths, output_features=task.output_features
            )
            dataset = step_with_arguments(dataset)
        yield f"{index}. {_step_name(step)}", (_displayed(example, aligned) for example in DatasetIterator(dataset))


def _step_name(step: Callable[..., Any]) -> str:
    if isinstance(step, functools.partial):
        return _step_name(step.func)
    return getattr(step, "__name__", None) or textwrap.shorten(str(step), _WIDTH)


def _displayed(example: tf.Tensor | dict[str, tf.Tensor], aligned: bool) -> str:
    if not isinstance(example, dict):
        return example.numpy().decode("utf-8", errors="replace")
    values = {name: value.numpy() for name, value in example.items()}
    if values.keys() == {"inputs", "targets"} and aligned:
        return _masked_pieces(values["inputs"], values["targets"])
    if values.keys() == {"inputs"}:
        return _feature_text(values["inputs"])
    return "\n".join(f"{name}: {_feature_text(value)}" for name, value in values.items())


def _feature_text(value: Any) -> str:
    """Shows token ids as pieces, a text as it is, and anything else as numpy does."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.int32:
        return " ".join(current_vocabulary().pieces(value))
    return str(value)


def _masked_pieces(inputs: np.ndarray, targets: np.ndarray) -> str:
    """Shows a predicted token as [what the model reads|what it is to predict], the rest as running text.

    Isolated (Unicode bidirectional algorithm, UAX 9), so that right-to-left text and brackets keep their order.
    """
    vocabulary = current_vocabulary()
    shown = []
    for piece, target in zip(vocabulary.pieces(inputs), targets.tolist(), strict=True):
        predicted = vocabulary.pieces([target])[0] if target else ""
        if target >= vocabulary.text_size:
            predicted = predicted.partition(":")[2]  # of the label's set
        shown.append(f"[{piece}|{predicted}]" if target else piece)
    text = "".join(shown).replace("\u2581", " ").strip()
    return f"{_FIRST_STRONG_ISOLATE}{text}{_POP_ISOLATE}"


def _packed_row(batch: dict[str, np.ndarray]) -> str:
    inputs, segments = batch["inputs"][0], batch["segment_ids"][0]
    targets = np.zeros_like(inputs)
    used = batch["loss_weights"][0] > 0
    targets[batch["predicted_positions"][0][used]] = batch["targets"][0][used]
    lines = [
        f"segment {segment}: {_masked_pieces(inputs[segments == segment], targets[segments == segment])}"
        for segment in range(1, int(segments.max()) + 1)
    ]
    masked = int((inputs == MASK_ID).sum())
    lines.append(
        f"{int((segments > 0).sum())} of {len(inputs)} tokens used, {int(used.sum())} of {len(used)} predictions used, "
        f"{masked} of them <mask>"
    )
    return "\n".join(lines)


def _title_and_body(title: str, bodies: Iterable[str]) -> str:
    lines = [f"--- {title}"]
    for body in bodies:
        for line in body.splitlines():
            lines += textwrap.wrap(line, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(lines)
