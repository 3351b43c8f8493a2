"""Keep the results of runs, and write their pages and the tables of the README.

Claim: none; it shows what other experiments measured.

    python -m experiments.results --add runs/digits-resnet8-1     # keeps its result and figures
    python -m experiments.results                                 # writes all pages anew

A result is kept if the code that made it is committed and in the history of what is checked out.
``results/`` holds one JSON file for each kept run, without paths of the machine, and its figures;
``benchmarks/results/`` what the benchmarks wrote; ``results/highlights.json`` the claims that the
README shows. Written are ``docs/results/`` (a page for each kept result, an index, the benchmarks)
and the part of README.md between its two comments.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
