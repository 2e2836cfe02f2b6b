"""Runs GEPA's optimize_anything as its documentation has it; inside its environment."""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or its import asks the network

from gepa.core.state import GEPAState
from gepa.optimize_anything import EngineConfig, GEPAConfig, ReflectionConfig, optimize_anything
from gepa.strategies.proposal_sampling import IndependentSampling

order = json.loads(Path(sys.argv[1]).read_text())
settings, place = order["settings"], Path(order["place"])
sys.path.insert(0, str(place))

import evaluator  # noqa: E402  # the common one, from the work folder


def evaluate(candidate):
    """As the documentation has it: the program is text; its score, and what may help to improve it."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(candidate)
        file.flush()
        found = evaluator.evaluate(file.name)
    return found["combined_score"], {key: value for key, value in found.items() if key != "combined_score"}


def main():
    if order["resume"]:
        state = place / "out" / "gepa_state.bin"
        known = GEPAState.load(str(place / "out")).total_num_evals if state.exists() else 0
        (place / "resumed.json").write_text(json.dumps({"known": known}))
    engine = {"max_candidate_proposals": order["calls"], "run_dir": str(place / "out"), "seed": order["seed"]}
    if settings.get("cache"):
        engine["cache_evaluation"] = True
    if "parallel" in settings:
        engine["sampling_strategy"] = IndependentSampling(settings["parallel"])
    result = optimize_anything(
        seed_candidate=(place / "initial.py").read_text(),
        evaluator=evaluate,
        objective="Raise the score of this Python program.",
        background=(place / "statement.md").read_text(),
        config=GEPAConfig(
            engine=EngineConfig(**engine),
            reflection=ReflectionConfig(
                reflection_lm="openai/stand-in",
                reflection_lm_kwargs={"api_base": order["url"], "api_key": "none"},
            ),
        ),
    )
    best = result.best_candidate
    report = {"best": best if isinstance(best, str) else next(iter(best.values()))}
    report["score"] = result.val_aggregate_scores[result.best_idx]
    (place / "report.json").write_text(json.dumps({**report, "known": result.total_metric_calls}))


if __name__ == "__main__":
    main()
