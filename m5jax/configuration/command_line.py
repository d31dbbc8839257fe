"""Command lines that train, read: their flags, and what they configure."""

import argparse
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from m5jax.configuration.flags import add_process_flags, parse_pairs, positive
from m5jax.errors import UserError

if TYPE_CHECKING:
    from m5jax.configuration.fine_tuning import FineTuning
    from m5jax.configuration.run import Run

RECIPES = Path("gin_configs/recipes")


def add_train_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `m5jax train`."""
    parser.add_argument(
        "--gin_file", action="append", required=True, metavar="FILE", help="gin file; may be given several times"
    )
    parser.add_argument("--gin", action="append", default=[], metavar="NAME=VALUE", help=argparse.SUPPRESS)
    add_process_flags(parser)


def read_train(arguments: argparse.Namespace) -> "Run":
    """Returns the run that the flags describe; raises UserError where they do not describe one."""
    from m5jax.configuration.load import load_run

    return load_run(arguments.gin_file, arguments.gin)


def add_finetune_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `m5jax finetune`."""
    parser.add_argument("--from", dest="pretrained", type=Path, metavar="DIR", help="run directory to begin with")
    parser.add_argument(
        "--train", action="append", required=True, metavar="FILE", help="training rows; may be given several times"
    )
    parser.add_argument(
        "--valid", action="append", required=True, metavar="FILE", help="validation rows; may be given several times"
    )
    parser.add_argument("--recipe", required=True, metavar="NAME", help="what is learned: a name above, or a gin file")
    parser.add_argument(
        "--run_dir", type=Path, metavar="DIR", help="default: that of --from with the recipe's name after it"
    )
    parser.add_argument(
        "--column", action="append", default=[], metavar="FIELD=COLUMN", help="column of a field of another name"
    )
    parser.add_argument("--default", action="append", default=[], metavar="FIELD=VALUE", help="for an absent field")
    parser.add_argument(
        "--overlap",
        choices=("refuse", "allow", "drop"),
        help="training rows whose texts are in the validation rows too (default: refuse)",
    )
    parser.add_argument(
        "--from_scratch", action="store_true", help="use only the vocabulary and the model's shape of --from"
    )
    parser.add_argument("--seed", type=int, help="of heads, order and dropout (default: 0)")
    parser.add_argument("--gin", action="append", default=[], metavar="NAME=VALUE", help=argparse.SUPPRESS)
    add_process_flags(parser)


def read_finetune(arguments: argparse.Namespace) -> "FineTuning":
    """Returns the fine-tuning that the flags describe; raises UserError where they do not describe one."""
    from m5jax.configuration.load import load

    fine_tuning: FineTuning = load([_recipe_file(arguments.recipe)], finetune_bindings(arguments), "FineTuning")
    return fine_tuning


def finetune_bindings(arguments: argparse.Namespace) -> list[str]:
    """Returns the gin bindings that flags of `m5jax finetune` stand for."""
    from m5jax.configuration.fine_tuned_run import model_bindings

    bound = {
        "run_dir": str(arguments.run_dir or _default_directory(arguments)),
        "train": tuple(arguments.train),
        "valid": tuple(arguments.valid),
        "columns": parse_pairs(arguments.column, "--column"),
        "defaults": parse_pairs(arguments.default, "--default"),
        "from_scratch": arguments.from_scratch,
    }
    if arguments.pretrained is not None:
        bound["pretrained"] = str(arguments.pretrained)
    bound |= {name: value for name in ("overlap", "seed") if (value := getattr(arguments, name)) is not None}
    model = [] if arguments.pretrained is None else model_bindings(arguments.pretrained)
    return [*model, *(f"FineTuning.{name}={value!r}" for name, value in bound.items()), *arguments.gin]


def add_evaluate_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `m5jax evaluate`."""
    parser.add_argument("--run", dest="run_dir", required=True, type=Path, metavar="DIR", help="run directory")
    parser.add_argument("--step", type=int, help="checkpoint to evaluate (default: the best or newest intact one)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="of a pre-trained run: also write figures as JSON")
    parser.add_argument(
        "--name",
        help="of the evaluation (default: held_out; of a fine-tuned run that of the first file, with the kind)",
    )
    parser.add_argument("--batch_size", type=positive, default=64, help="rows at a time (default: %(default)s)")
    parser.add_argument("--samples", type=positive, default=1000, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    group = parser.add_argument_group("of files")
    group.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="FILE",
        help="labelled rows, or of a pre-trained run products; several times",
    )
    group.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="FIELD=COLUMN",
        help="where other than of the training, or of products",
    )
    group.add_argument("--default", action="append", default=[], metavar="FIELD=VALUE", help="for an absent field")
    group.add_argument(
        "--overlap", choices=("refuse", "allow"), default="refuse", help="of labelled rows with the training ones"
    )
    _add_search_flags(parser)


def _add_search_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("of pairs as a search")
    group.add_argument("--kind", choices=("search",), help="search for what fits, instead of telling pairs apart")
    group.add_argument(
        "--candidates",
        choices=("judged", "all"),
        default="",
        help="rank the documents of each query's rows, or find the best of all (default: all, of a joint model judged)",
    )
    group.add_argument(
        "--documents",
        action="append",
        default=[],
        metavar="FILE",
        help="products beside those of the rows; several times",
    )
    group.add_argument(
        "--baseline",
        dest="baselines",
        action="append",
        default=[],
        metavar="WHAT",
        help="bm25, a fine-tuned run, or a folder of sentence-transformers; several times",
    )
    group.add_argument(
        "--index",
        dest="indices",
        action="append",
        default=[],
        choices=("hnsw", "ivf"),
        help="search by an index too; several times",
    )
    group.add_argument(
        "--dimensions",
        action="append",
        default=[],
        type=positive,
        metavar="N",
        help="cut the embeddings to so many dimensions too; several times",
    )


def check_evaluation(name: str, flags: Sequence[str]) -> None:
    """Raises UserError where these are no flags of `m5jax evaluate`, or name the run or the evaluation themselves."""
    parser = _Parser(allow_abbrev=False, explanation=f"the evaluation {name} has no flags of m5jax evaluate")
    add_evaluate_flags(parser)
    given = parser.parse_args([*(flags if not isinstance(flags, str) else [flags]), "--run=."])
    if isinstance(flags, str):
        raise UserError(f"the evaluation {name} is {flags!r}; allowed: a list of flags")
    if given.name is not None or sum(flag.partition("=")[0] == "--run" for flag in flags):
        raise UserError(f"the evaluation {name} has --run or --name, which the study gives")


def _recipe_file(name: str) -> str:
    return name if name.endswith(".gin") else str(RECIPES / f"{name}.gin")


def _default_directory(arguments: argparse.Namespace) -> Path:
    recipe = Path(arguments.recipe).stem
    if arguments.pretrained is None:
        return Path("runs") / recipe
    run_dir = Path(arguments.pretrained).resolve()
    # As it was typed where that has a name: messages are shorter.
    named = arguments.pretrained if arguments.pretrained.name == run_dir.name else run_dir
    return named.with_name(f"{run_dir.name}-{recipe}")


@dataclasses.dataclass(frozen=True)
class _Command:
    add_flags: Callable[[argparse.ArgumentParser], None]
    read: Callable[[argparse.Namespace], Any]


COMMANDS = {
    "train": _Command(add_train_flags, read_train),
    "finetune": _Command(add_finetune_flags, read_finetune),
}


def split_gin_overrides(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with each `--gin.NAME=VALUE` rewritten to `--gin NAME=VALUE`, which argparse can read.

    Those after `--` are another command's.
    """
    rewritten: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return rewritten + list(arguments[place:])
        if argument.startswith("--gin."):
            rewritten += ["--gin", argument.removeprefix("--gin.")]
        else:
            rewritten.append(argument)
    return rewritten


def read_command(words: Sequence[str], allowed: Sequence[str] = tuple(COMMANDS)) -> Any:
    """Returns the `Run` or `FineTuning` that the command line of one machine describes.

    Args:
      words: the subcommand and its flags.
      allowed: subcommands.

    Raises:
      UserError: it is none of these, or of one of several processes, or describes nothing that can be trained.
    """
    parser = _Parser(allow_abbrev=False)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in allowed:
        added = subparsers.add_parser(name, allow_abbrev=False)
        COMMANDS[name].add_flags(added)
    parsed = parser.parse_args(split_gin_overrides(words))
    if parsed.distributed or (parsed.coordinator, parsed.processes, parsed.process) != (None,) * 3:
        raise UserError("this is not the command of one machine: it has --distributed or --coordinator; leave them out")
    return COMMANDS[words[0]].read(parsed)


class _Parser(argparse.ArgumentParser):
    """Raises what it would end the process with."""

    def __init__(self, *, explanation: str = "this is no command that trains", **settings: Any):
        super().__init__(**settings)
        self._explanation = explanation

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self._explanation}: {message}")


def describe_command(words: Sequence[str]) -> Mapping[str, str]:
    """Returns every value that a command line configures but the run directory, as texts, by its name in gin files.

    Raises:
      UserError: as `read_command`.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)  # gin logs each place where it does not find a file; this is one of many readings
    try:
        configured = read_command(words)
    finally:
        logging.disable(disabled)
    settings = dict(_settings(configured))
    del settings[f"{type(configured).__name__}.run_dir"]
    return settings


def _settings(configured: Any) -> Iterator[tuple[str, str]]:
    """Yields the values of a configured object by their names in gin files, those of the objects in it too."""
    for field in dataclasses.fields(configured):
        value, name = getattr(configured, field.name), f"{type(configured).__name__}.{field.name}"
        if dataclasses.is_dataclass(value):
            yield name, f"@{type(value).__name__}()"
            yield from _settings(value)
        else:
            yield name, repr(value)
