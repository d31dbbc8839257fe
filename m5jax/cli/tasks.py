"""`m5jax tasks`: what is registered, and what a model sees of it."""

import argparse
from typing import Any

from m5jax.configuration.flags import positive

DESCRIPTION = """Lists registered tasks and mixtures, or shows decoded examples of one, before and after each step.

  m5jax tasks list
  m5jax tasks list ul2
  m5jax tasks show embedded_catalog_mlm --unit=tokens
  m5jax tasks show my_task --task_module=my_tasks --vocabulary=vocabulary.model
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "tasks",
        help="list or show registered tasks and mixtures",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list | show")
    list_parser = verbs.add_parser("list", help="names of tasks and mixtures")
    list_parser.add_argument("containing", nargs="?", default="", metavar="TEXT", help="only names that contain it")
    show_parser = verbs.add_parser("show", help="decoded examples, before and after each step")
    show_parser.add_argument("name", metavar="NAME", help="task or mixture")
    show_parser.add_argument("--examples", type=positive, default=1, help="records to show (default: %(default)s)")
    show_parser.add_argument(
        "--vocabulary", default="", metavar="FILE", help="vocabulary (needed where the task has none of its own)"
    )
    show_parser.add_argument(
        "--unit", default="examples", help="that a mixture counts: examples, bytes or tokens (default: %(default)s)"
    )
    for verb in (list_parser, show_parser):
        verb.add_argument(
            "--task_module",
            action="append",
            metavar="MODULE",
            help="module that registers tasks (default: tasks)",
        )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from m5jax.configuration.load import import_task_modules

    import_task_modules(arguments.task_module or ["tasks"])
    from m5jax.data import inspect_task  # needs TensorFlow, which the line above loads

    if arguments.verb == "list":
        print(inspect_task.list_tasks(arguments.containing))
    else:
        shown = inspect_task.show_task(
            arguments.name, examples=arguments.examples, vocabulary=arguments.vocabulary, unit=arguments.unit
        )
        print(shown)
    return 0
