"""The result of an ensemble, in words."""

from collections.abc import Mapping
from typing import Any

from cnnlab.studies.method_tables import diversity_table, member_error_line, method_table
from cnnlab.studies.run_table import align_columns


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text."""
    return [
        *align_columns(method_table(result["methods"])),
        "",
        member_error_line(result["alone"]),
        "",
        *align_columns(diversity_table({"the members": result["diversity"]})),
    ]
