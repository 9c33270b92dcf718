"""The file of prompts that a worker reads."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from figa_core.records import Message
from figa_core.rl.prompts_file import (
    SCHEMA,
    PromptRow,
    conversation,
    count_prompts,
    read_prompts,
    row_fields,
    write_prompts,
)

MESSAGES = (Message("system", "Be brief."), Message("user", 'Ünï "quoted"\nline'))


def test_prompts_come_back_with_their_ids_tokens_and_messages(tmp_path: Path) -> None:
    path = tmp_path / "rl" / "prompts.parquet"
    rows = PromptRow("a", (1, 2, 3), MESSAGES), PromptRow("b", (4,), MESSAGES[1:], {"answer": "ü", "n": None})
    write_prompts(path, [[rows[0]], [], [rows[1]]])
    table = read_prompts(path)
    assert table.column("prompt_id").to_pylist() == ["a", "b"]
    assert table.column("prompt_ids").to_pylist() == [[1, 2, 3], [4]]
    assert [conversation(text) for text in table.column("messages").to_pylist()] == [MESSAGES, MESSAGES[1:]]
    found = [row_fields(text) for text in table.column("fields").to_pylist()]
    assert found == [{}, {"answer": "ü", "n": None}]
    assert count_prompts(path) == 2


def test_a_file_of_an_older_version_has_no_fields(tmp_path: Path) -> None:
    path, older = tmp_path / "prompts.parquet", SCHEMA.remove(SCHEMA.get_field_index("fields"))
    pq.write_table(pa.table([["a"], [[1]], ["[]"]], schema=older), path)
    assert [row_fields(text) for text in read_prompts(path).column("fields").to_pylist()] == [{}]
