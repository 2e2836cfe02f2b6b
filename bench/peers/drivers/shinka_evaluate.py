"""ShinkaEvolve's evaluation script, as its documentation has it: through run_shinka_eval."""

import argparse
import time
from pathlib import Path

import evaluator
from shinka.core import run_shinka_eval


def main(program_path, results_dir):
    found = {}

    def aggregate(decisions):
        found["score"] = evaluator.score(decisions)
        return {"combined_score": max(0.001, (1.0 + found["score"]) / 2.0)}

    entered, begun = time.process_time(), time.thread_time()
    _, _, error = run_shinka_eval(
        program_path=program_path,
        results_dir=results_dir,
        experiment_fn_name=evaluator.TASK["entry"],
        num_runs=len(evaluator.INSTANCES),
        get_experiment_kwargs=lambda index: dict(evaluator.INSTANCES[index].arguments),
        aggregate_metrics_fn=aggregate,
    )
    spent = time.thread_time() - begun
    evaluator._note(Path(program_path).read_text(), spent, entered, found.get("score"), str(error or ""))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--program_path")
    parser.add_argument("--results_dir")
    options = parser.parse_args()
    main(options.program_path, options.results_dir)
