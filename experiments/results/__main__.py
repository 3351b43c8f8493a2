"""The command line."""

from .. import cli

cli.main(__package__)
