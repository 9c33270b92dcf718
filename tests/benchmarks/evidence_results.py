"""Results of `make evidence` that outlive their machine: one small JSON file a comparison, committed.

build/evidence has the whole JSON files of `figa compare`, with every training and its cost. What the report,
the picture and the goals need is kept in tests/benchmarks/evidence_results/. They read nothing else, also of
a whole file, so that both say the same.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from figa_core.files import write_whole

KEPT = Path(__file__).with_suffix("")
_DIGITS = 6  # significant digits of a kept number
_FROM_JSON = ("metric", "created_at", "validation_prompts", "comparisons")


def essence(content: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of the JSON of `figa compare`. Means and intervals are rounded to six digits."""
    rows = [row for row in content["rows"] if row["score"]["mean"] is not None]
    others = [row for row in content["rows"] if row["score"]["mean"] is None]
    found = {name: content.get(name) for name in _FROM_JSON} | {
        "base": _estimate(content["base"]),
        "prompts": content["base"].get("prompts"),
        "best_on_validation": _best_on_validation(rows),
        "rows": [_row(row, content["base"]["mean"]) for row in rows],
        "without_score": [_without_score(row) for row in others],
        "contrasts": [_contrast(each) for each in content["contrasts"]],
        "by_type": {
            pairs: {
                kind: {name: _estimate(value) for name, value in of_kind.items()}
                for kind, of_kind in kinds.items()
            }
            for pairs, kinds in content["by_type"].items()
        },
    }
    return _rounded(found)


def _row(row: Mapping[str, Any], base: float) -> dict[str, Any]:
    judged = [each for each in row["trainings"] if each["judged"] is not None]
    drifts = [each["kl_from_base"] for each in judged if each["kl_from_base"] is not None]
    return {name: row[name] for name in ("method", "objective", "pairs", "learning_rate")} | {
        "score": _estimate(row["score"]),
        "against_base": _estimate(row["against_base"]["change"]) if row["against_base"] else None,
        "spread_over_seeds": row["spread_over_seeds"],
        "trainings": len(judged),
        "lowest": min(each["judged"] for each in judged),
        "below_base": sum(each["judged"] < base for each in judged),
        "worse_than_base": row["trainings_below_base"],  # by the interval of each
        "kl_from_base": fmean(drifts) if drifts else None,
        "flops": row["cost_of_one_training"]["flops"],
        "seconds": row["cost_of_one_training"]["seconds"],
    }


def _best_on_validation(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The FIGA variant with the highest mean validation score at its chosen rate."""
    variants = [row for row in rows if row["objective"] == "figa"]
    best = max(variants, key=_validation, default=None)
    return None if best is None else {"method": best["method"], "pairs": best["pairs"]}


def _validation(row: Mapping[str, Any]) -> float:
    at_rate = [each for each in row["trainings"] if each["learning_rate"] == row["learning_rate"]]
    return fmean(each["validation"] for each in at_rate if each["validation"] is not None)


def _without_score(row: Mapping[str, Any]) -> dict[str, Any]:
    reasons = [each["reason"] for each in row["trainings"] if each["reason"]]
    reason = row["unable"] or (reasons[0].partition("\n")[0] if reasons else "no training was judged")
    return {"method": row["method"], "pairs": row["pairs"], "reason": reason}


def _contrast(each: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each[name] for name in ("one", "other", "pairs")} | {
        "change": _estimate(each["change"]),
        "told_apart": each["told_apart"],
    }


def _estimate(estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean": estimate["mean"], "interval": estimate["interval"]}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def keep(measured: Path, kept: Path = KEPT) -> Path:
    """Write the essence of a JSON file of `figa compare` into the folder `kept`; returns the new file."""
    kept.mkdir(parents=True, exist_ok=True)
    path = kept / measured.name
    text = json.dumps(essence(_read(measured)), indent=1, ensure_ascii=False)
    write_whole(path, f"{text}\n".encode())
    return path


def newest(name: str, measured: Path, kept: Path = KEPT) -> dict[str, Any] | None:
    """The essence of a comparison, of this machine or kept, whichever is newer; None if there is neither."""
    here, there = measured / f"{name}.json", kept / f"{name}.json"
    found: list[dict[str, Any]] = [essence(_read(here))] if here.exists() else []
    found += [_read(there)] if there.exists() else []
    return max(found, key=lambda content: content["created_at"] or "", default=None)


def measured_here(names: Sequence[str], measured: Path) -> list[Path]:
    """The whole JSON files of these comparisons that are on this machine."""
    return [path for name in names if (path := measured / f"{name}.json").exists()]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
