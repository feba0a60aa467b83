"""What a benchmark hands back: a table, printed as aligned text and written as JSON.

Nothing but the standard library is imported here, so that the child processes of `job` and `memory` carry no weight
that is not theirs.
"""

import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = str | int | float | None
Row: TypeAlias = dict[str, Value]
Runner: TypeAlias = Callable[[], object]  # what is timed

FORMATS = {
    "ms": ".3f",
    "µs": ",.1f",
    "TFLOP/s": ".1f",
    "GFLOP/s": ",.0f",
    "of peak": ".0%",
    "of ceiling": ".0%",
    "of step": ".1%",
    "GB/s": ".1f",
    "images/s": ",.0f",
    "seconds": ".2f",
    "accuracy": ".2%",
    "batch": ",d",
    "workers": "d",
    "MB": ",.0f",
}


class Failure(Exception):
    """A benchmark that has no result; the message says why in one sentence."""


@dataclass
class Table:
    """The rows of one stem. All rows have the same columns; None, where there is no such number, is printed as "-".

    `means` are geometric means over rows, by name; they are printed below.
    """

    stem: str
    title: str
    rows: list[Row] = field(default_factory=list)
    means: Row = field(default_factory=dict)

    def text(self) -> str:
        columns = list(self.rows[0]) if self.rows else []
        lines = [columns, *([cell(name, row[name]) for name in columns] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        words = [isinstance(self.rows[0][name], str) for name in columns] if self.rows else []
        aligned = [
            "  ".join(
                text.ljust(width) if word else text.rjust(width)
                for text, width, word in zip(line, widths, words, strict=True)
            ).rstrip()
            for line in lines
        ]
        means = [f"geometric mean of {name}: {cell(name, value)}" for name, value in self.means.items()]
        return "\n".join([f"{self.stem}: {self.title}", *aligned, *means])


def geometric_mean(rows: list[Row], column: str) -> float | None:
    """None where a row has no such number."""
    values = [value for row in rows if isinstance(value := row[column], float)]
    return statistics.geometric_mean(values) if values and len(values) == len(rows) else None


def cell(name: str, value: Value) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    unit = next((unit for unit in FORMATS if name == unit or name.endswith(" " + unit)), None)
    return format(value, FORMATS[unit] if unit else ".2f")


def child(arguments: list[str], environment: Mapping[str, str], limit: float | None = None) -> str:
    """The last line that `python -m arguments…` prints, run as a process of its own beside this package.

    Failure where it fails, or has not ended after `limit` seconds.
    """
    command = [sys.executable, "-m", *arguments]
    folder = Path(__file__).parents[1]
    try:
        done = subprocess.run(command, cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(arguments[:2])} had not ended after {limit:g} seconds") from None
    if done.returncode:
        raise Failure(f"{' '.join(arguments[:2])} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout.strip().splitlines()[-1]
