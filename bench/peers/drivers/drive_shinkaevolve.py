"""Runs ShinkaEvolve through its documented Python interface; inside its environment."""

import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from shinka.core import EvolutionConfig, ShinkaEvolveRunner
from shinka.database import DatabaseConfig
from shinka.launch import LocalJobConfig

order = json.loads(Path(sys.argv[1]).read_text())
settings, place = order["settings"], Path(order["place"])


def stored():
    """The programs that its database holds, the best first, and the best score."""
    path, found = place / "out" / "programs.sqlite", []
    if path.exists():
        with closing(sqlite3.connect(path)) as database:
            query = "SELECT code, combined_score FROM programs ORDER BY correct DESC, combined_score DESC"
            found = database.execute(query).fetchall()
    best = {"best": found[0][0], "score": found[0][1]} if found else {}
    return {"programs": [code for code, _ in found], **best}


def runner():
    script = Path(__file__).with_name(
        "shinka_evaluate_light.py" if settings.get("light") else "shinka_evaluate.py"
    )
    shutil.copyfile(script, place / "evaluate.py")
    limit = {"time": f"00:00:{order['timeout_s']:02d}"} if order["timeout_s"] else {}
    jobs = LocalJobConfig(
        eval_program_path=str(place / "evaluate.py"), python_executable=sys.executable, **limit
    )
    chosen = {"meta_rec_interval": None} if settings.get("light") else {}
    if "proposals" in settings:
        chosen["enable_controlled_oversubscription"] = True
        chosen["proposal_target_mode"] = "fixed"
        chosen["proposal_buffer_max"] = settings["proposals"]
    evolution = EvolutionConfig(
        task_sys_msg=(place / "statement.md").read_text(),
        num_generations=order["calls"] + 1,  # the first one is the initial program
        llm_models=[f"local/stand-in@{order['url']}"],
        embedding_model=None,
        init_program_path=str(place / "initial.py"),
        results_dir=str(place / "out"),
        **chosen,
    )
    more = {"max_proposal_jobs": settings["proposals"]} if "proposals" in settings else {}
    return ShinkaEvolveRunner(evo_config=evolution, job_config=jobs, db_config=DatabaseConfig(), **more)


if __name__ == "__main__":
    if order["resume"]:
        (place / "resumed.json").write_text(json.dumps(stored()))
    runner().run()
    (place / "report.json").write_text(json.dumps(stored()))
