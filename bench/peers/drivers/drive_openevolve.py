"""Runs OpenEvolve through its documented Python interface; inside its environment."""

import asyncio
import json
import sys
from pathlib import Path

from openevolve import OpenEvolve
from openevolve.config import LLMModelConfig, load_config

order = json.loads(Path(sys.argv[1]).read_text())
settings, place = order["settings"], Path(order["place"])


def configured():
    config = load_config(None)
    config.random_seed = config.database.random_seed = order["seed"]
    config.prompt.system_message = (place / "statement.md").read_text()
    model = {"name": "stand-in", "api_base": order["url"], "api_key": "none"}
    config.llm.models = [LLMModelConfig(**model)]
    config.llm.evaluator_models = [LLMModelConfig(**model)]
    shared = ("temperature", "max_tokens", "timeout", "retries", "retry_delay")
    config.llm.update_model_params({name: getattr(config.llm, name) for name in shared})
    if order["timeout_s"]:
        config.evaluator.timeout = order["timeout_s"]
    if "parallel" in settings:
        config.evaluator.parallel_evaluations = settings["parallel"]
    if "cascade" in settings:
        config.evaluator.cascade_evaluation = settings["cascade"]
    if "checkpoint_interval" in settings:
        config.checkpoint_interval = settings["checkpoint_interval"]
    return config


def checkpoint():
    found = (place / "out" / "checkpoints").glob("checkpoint_*")
    return max(found, key=lambda path: int(path.name.rpartition("_")[2]), default=None)


async def main():
    system = OpenEvolve(
        initial_program_path=str(place / "initial.py"),
        evaluation_file=str(place / "evaluator.py"),
        config=configured(),
        output_dir=str(place / "out"),
    )
    last = checkpoint() if order["resume"] else None
    if order["resume"]:
        if last is not None:
            system.database.load(str(last))
        programs = [program.code for program in system.database.programs.values()]
        (place / "resumed.json").write_text(json.dumps({"programs": programs}))
    left = max(1, order["calls"] - system.database.last_iteration)
    best = await system.run(iterations=left, checkpoint_path=str(last) if last else None)
    report = {"best": best.code, "score": best.metrics.get("combined_score")} if best else {}
    (place / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main())
