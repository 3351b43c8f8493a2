"""The result of snapshots, in words."""

from collections.abc import Mapping
from typing import Any

from cnnlab.studies.method_tables import diversity_table, method_table
from cnnlab.studies.run_table import align_columns


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text."""
    return [
        result["note"],
        "",
        *align_columns(method_table(result["methods"])),
        "",
        *align_columns(diversity_table({"all snapshots": result["diversity"]})),
    ]
