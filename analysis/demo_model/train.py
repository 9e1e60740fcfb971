"""Train the demo model from the word lists of the package: `python -m analysis.demo_model.train --folder FOLDER`."""

import argparse
from pathlib import Path

import torch

from analysis.demo_model.mixture import Mixture
from analysis.demo_model.recipe import Recipe
from analysis.demo_model.training import STATE_NAME, Run, train


def main() -> None:
    """Read the command line and train."""
    recipe = Recipe()
    parser = argparse.ArgumentParser(prog="python -m analysis.demo_model.train", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the model and its log go")
    parser.add_argument("--steps", type=int, default=recipe.n_steps, help="optimisation steps (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=recipe.seed, help="seed of weights and draws (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="processor cores to use (default: %(default)s)")
    parser.add_argument("--mixed-mask", action="store_true", help="let queries see their own example alone")
    parser.add_argument("--resume", action="store_true", help="go on from the state in the folder")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.set_flush_denormal(True)
    recipe = Recipe(n_steps=chosen.steps, seed=chosen.seed, mixed_mask=chosen.mixed_mask)
    run = Run(recipe, Mixture(), device=chosen.device)
    if chosen.resume:
        run.take_up(chosen.folder / STATE_NAME)
    train(run, folder=chosen.folder)


if __name__ == "__main__":
    main()
