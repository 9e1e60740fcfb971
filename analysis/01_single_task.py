"""Replicate the paper's first experiment on one task: M = 5, N = 10, 400 steps of batch 1.

By default on a demo task. On a real model, with the paper's AG News:

    python analysis/01_single_task.py --model path/to/model --tasks path/to/tasks57 --task ag_news
"""

import argparse

import site_lens as sl


def main() -> None:
    """Fit, evaluate, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--tasks", default="demo", help="'demo', or a folder or file of tasks")
    parser.add_argument("--task", default="country-capital")
    parser.add_argument("--out", default="runs/01_single_task")
    arguments = parser.parse_args()
    run = sl.fit_and_evaluate(
        sl.load_model(arguments.model),
        sl.load_tasks(arguments.tasks, [arguments.task]),
        sl.SiteConfig.paper(n_prompts=5),
        folder=arguments.out,
    )
    sl.write_report(run, f"{arguments.out}/report.html")
    assert run.evaluations is not None
    print(run.evaluations.results().query("metric == 'first_token'").to_string(index=False))


if __name__ == "__main__":
    main()
