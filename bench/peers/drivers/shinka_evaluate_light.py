"""ShinkaEvolve's evaluation script without an import of shinka: it writes the two files that the system reads."""

import argparse
import json
from pathlib import Path

import evaluator

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--program_path")
    parser.add_argument("--results_dir")
    options = parser.parse_args()
    found, place = evaluator.evaluate(options.program_path), Path(options.results_dir)
    place.mkdir(parents=True, exist_ok=True)
    error = found.get("error")
    (place / "correct.json").write_text(json.dumps({"correct": error is None, "error": error}))
    (place / "metrics.json").write_text(json.dumps({"combined_score": found["combined_score"]}))
