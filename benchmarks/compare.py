"""The ratio table: sdtwkit beside whichever peers are installed, in one process, one thread each.

Usage: python benchmarks/compare.py [--quick] [--task NAME ...] [--repeat N] [--markdown] [--json FILE]
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind site-packages: an installed sdtwkit goes first
from benchmarks import threads

if __name__ == "__main__":  # before NumPy, Numba and torch are loaded
    os.environ.update(threads.environment(1))

from benchmarks import machine, measure, table
from benchmarks.tasks import TASKS


def main(argv=None):
    """Measure, print the table, write the JSON file."""
    arguments = parser().parse_args(argv)
    effort = effort_of(arguments)
    described = machine.describe() | {"repeat": effort.repeat}
    rows = []
    for task in TASKS:
        if not arguments.task or task.name in arguments.task:
            print(f"measuring {task.title} ...", file=sys.stderr, flush=True)
            rows.append(measure.measure_task(task, effort))
    print(table.markdown(rows, described) if arguments.markdown else table.text(rows, described))
    if arguments.json:
        arguments.json.write_text(json.dumps(table.as_json(rows, described), indent=1) + "\n")


def parser():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="2 rounds, no peak memory of the speed tasks")
    names = [task.name for task in TASKS]
    options.add_argument("--task", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    options.add_argument("--repeat", type=int, metavar="N", help="rounds at least (7, quick 2)")
    options.add_argument("--markdown", action="store_true", help="print the table for the README")
    options.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    return options


def effort_of(arguments):
    effort = measure.Effort(2, 0.2, memory=False) if arguments.quick else measure.Effort()
    return effort._replace(repeat=arguments.repeat) if arguments.repeat else effort


if __name__ == "__main__":
    main()
