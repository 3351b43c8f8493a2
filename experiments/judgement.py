"""The tables of methods, for modules that are not folders yet: see ``studies.method_tables``."""

from collections.abc import Sequence

from cnnlab.studies.method_tables import method_table as table
from cnnlab.studies.method_tables import points_with_interval as difference
from cnnlab.studies.run_table import align_columns

__all__ = ["difference", "printed", "table"]


def printed(lines: Sequence[Sequence[str]]) -> str:
    """A table in columns."""
    return "\n".join(align_columns(lines))
