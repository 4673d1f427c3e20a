"""From a user's files to text, records, tables and image paths, and JSON for any reader."""

from geovlm.files.arrow import saved_columns, saved_folders, saved_rows
from geovlm.files.caches import keep
from geovlm.files.images import Images, find, listed
from geovlm.files.records import csv_rows, json_lines, read_json
from geovlm.files.streams import json_array, json_members
from geovlm.files.tables import table_batches
from geovlm.files.text import read_text

__all__ = [
    "Images",
    "csv_rows",
    "find",
    "json_array",
    "json_members",
    "json_lines",
    "keep",
    "listed",
    "read_json",
    "read_text",
    "saved_columns",
    "saved_folders",
    "saved_rows",
    "table_batches",
]
