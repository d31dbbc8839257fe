"""Mixtures of tasks and of other mixtures: what they consist of, and how often each task is sampled."""

import dataclasses
from collections.abc import Mapping, Sequence

import seqio

from m5jax.data.corpus_source import CorpusDataSource
from m5jax.data.mixing import MixingRule, Proportional, normalized
from m5jax.data.token_counts import count_tokens
from m5jax.errors import UserError, unknown_name


@dataclasses.dataclass(frozen=True)
class _Mixture:
    """Members by name, tasks or mixtures, with fixed weights or None for the run's rule."""

    members: tuple[str, ...]
    weights: tuple[float, ...] | None


_MIXTURES: dict[str, _Mixture] = {}


def add_mixture(name: str, members: Sequence[str] | Mapping[str, float]) -> None:
    """Registers a mixture of tasks and mixtures that are registered already.

    Args:
        name: letters, digits and underscores.
        members: names, sampled by the run's rule from how much data they have (`DataConfig.mixing`); or weights by
            name, which no run changes. A mixture counts for the data of all its tasks.

    Raises:
        UserError: the name is taken, a member is unknown or named twice, there is none, or a weight is negative or not
            finite, or all are zero.
    """
    check_free(name)
    if not members:
        raise UserError(f"cannot register the mixture {name}: it has no task")
    weights = None
    if isinstance(members, Mapping):
        normalized(members)
        weights = tuple(members.values())
    elif len(set(members)) < len(members):
        raise UserError(f"cannot register the mixture {name}: a member is named twice")
    tasks = {task.name for member in members for task in find_tasks(member)}
    _MIXTURES[name] = _Mixture(tuple(members), weights)

    def rate(task: seqio.Task) -> float:
        return mixture_rates(name)[task.name]

    seqio.MixtureRegistry.add(name, sorted(tasks), default_rate=rate)


def check_free(name: str) -> None:
    """Raises UserError where a task or mixture of this name is registered."""
    if name in seqio.TaskRegistry.names() or name in seqio.MixtureRegistry.names():
        raise UserError(f"task {name} is registered already; choose another name")


def find_tasks(name: str, *others: str) -> list[seqio.Task]:
    """Returns the tasks of a registered task or mixture, sorted by name, then those that only others have.

    Raises:
        UserError: an unknown name.
    """
    if others:
        return list({task.name: task for each in (name, *others) for task in find_tasks(each)}.values())
    if name in seqio.MixtureRegistry.names():
        return list(seqio.MixtureRegistry.get(name).tasks)
    if name in seqio.TaskRegistry.names():
        return [seqio.TaskRegistry.get(name)]
    raise unknown_name("task", name, [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()])


def mixture_rates(name: str, rule: MixingRule | None = None, split: str = "train") -> dict[str, float]:
    """Returns how often each task is sampled, by name; the rates sum to 1.

    Args:
        name: a task or mixture. One that SeqIO's own registry got from elsewhere keeps the rates it has there.
        rule: for mixtures without fixed weights; None: `Proportional()`.
        split: whose records count.

    Raises:
        UserError: an unknown name, a task without data, or impossible rates.
    """
    rule = rule or Proportional()
    if name in seqio.TaskRegistry.names():
        return {name: 1.0}
    if name not in _MIXTURES:
        tasks = find_tasks(name)
        mixture = seqio.MixtureRegistry.get(name)
        return normalized({task.name: float(mixture.get_rate(task)) for task in tasks})
    rates: dict[str, float] = dict.fromkeys((task.name for task in find_tasks(name)), 0.0)
    for member, share in _shares(_MIXTURES[name], rule, split).items():
        for task, rate in mixture_rates(member, rule, split).items():
            rates[task] += share * rate
    return rates


def mixture_tree(name: str, rule: MixingRule | None = None, split: str = "train", depth: int = 0) -> list[str]:
    """Returns the lines of a mixture's tree: each member with its share of the level above it."""
    rule = rule or Proportional()
    if name not in _MIXTURES:
        return []
    lines = []
    for member, share in _shares(_MIXTURES[name], rule, split).items():
        lines.append(f"{'  ' * depth}{member}  {share:.4f}")
        lines += mixture_tree(member, rule, split, depth + 1)
    return lines


def record_count(task: seqio.Task, split: str) -> int:
    """Returns the records of a task's split; raises UserError where there are none or their number is not known."""
    if split not in task.splits:
        raise UserError(f"task {task.name} has no split {split!r}; splits there: {', '.join(sorted(task.splits))}")
    if isinstance(task.source, CorpusDataSource):
        # Says what is missing, where a count of 0 would not.
        task.source.list_shards(split)
    count = task.num_input_examples(split)
    if not count:
        raise UserError(f"task {task.name} does not know how many {split} records it has; name num_input_examples")
    return count


def unit_count(task: seqio.Task, split: str, unit: str) -> int:
    """Returns how much of a unit of mixing a task's split has; raises UserError as `record_count`, `count_tokens`."""
    count = record_count(task, split)
    if unit == "examples":
        return count
    if unit == "tokens":
        return count_tokens(task, split, count).tokens
    if not isinstance(task.source, CorpusDataSource):
        raise UserError(f"task {task.name} reads no corpus, so its bytes are not known; mix by examples")
    return task.source.utf8_bytes(split)


def _shares(mixture: _Mixture, rule: MixingRule, split: str) -> dict[str, float]:
    """Returns the share of each member of one mixture."""
    if mixture.weights is not None:
        return normalized(dict(zip(mixture.members, mixture.weights, strict=True)))
    return rule.rates({member: _count(member, split, rule.unit) for member in mixture.members})


def _count(name: str, split: str, unit: str) -> int:
    return sum(unit_count(task, split, unit) for task in find_tasks(name))
