"""Entry modules: ``python -m experiments.NAME --help``, or from Python ``Config`` and ``run``."""
