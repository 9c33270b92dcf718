"""The file of prompts that a worker reads."""

from pathlib import Path

from figa_core.records import Message
from figa_core.rl.prompts_file import conversation, count_prompts, read_prompts, write_prompts

MESSAGES = (Message("system", "Be brief."), Message("user", 'Ünï "quoted"\nline'))


def test_prompts_come_back_with_their_ids_tokens_and_messages(tmp_path: Path) -> None:
    path = tmp_path / "rl" / "prompts.parquet"
    write_prompts(path, [[("a", (1, 2, 3), MESSAGES)], [], [("b", (4,), MESSAGES[1:])]])
    table = read_prompts(path)
    assert table.column("prompt_id").to_pylist() == ["a", "b"]
    assert table.column("prompt_ids").to_pylist() == [[1, 2, 3], [4]]
    assert [conversation(text) for text in table.column("messages").to_pylist()] == [MESSAGES, MESSAGES[1:]]
    assert count_prompts(path) == 2
