"""Run folders: what one training leaves behind, and the way from there to a trained model."""

from training.runs.run_folder import (
    DatasetFacts,
    LoadedRun,
    Run,
    RunDescription,
    load_run,
    load_same,
    trained_steps,
)

__all__ = ["DatasetFacts", "LoadedRun", "Run", "RunDescription", "load_run", "load_same", "trained_steps"]
