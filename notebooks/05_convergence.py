# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Did it converge, or was it the optimiser?
#
# **Question:** SITE's alphas are reported to end close to 0 or to 1. Is that a finding about the task ("these heads
# carry it, those do not"), or would the optimiser have done it anyway?
#
# Alpha is the sigmoid of a free parameter. Anything that keeps pushing that parameter one way, signal or noise, ends in
# 0 or 1. The test is a *null*: the same loop, with the same embedding, on queries with shuffled answers.
#
# Run it in [Colab](https://colab.research.google.com/github/site-lens/site_lens/blob/main/notebooks/05_convergence.ipynb)
# or in [Binder](https://mybinder.org/v2/gh/site-lens/site_lens/main?labpath=notebooks/05_convergence.ipynb).

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "site_lens[notebook,gguf]"], check=True)

# %%
import pandas as pd
import site_lens as sl

model = sl.load_model("demo")
tasks = sl.load_tasks("demo", ["antonym", "english-french", "country-language"])
shuffled = "site_shuffled_answers"
config = sl.SiteConfig(n_prompts=10, eval_every=5)
run = sl.fit_and_evaluate(model, tasks, config, controls=["site_zero_embedding", shuffled], max_queries=40)
fit, null = run.fits["antonym"], run.controls[shuffled]["antonym"]

# %% [markdown]
# ## Loss
#
# The alphas of lowest validation loss are kept (`keep="best"`), which need not be the last. `undecided` is the share of
# heads with 0.1 < alpha < 0.9.

# %%
sl.plots.training(fit).show()
sl.plots.alpha_paths(fit)

# %% [markdown]
# ## Gates
#
# Mean binary entropy runs from 1 bit (all alphas 0.5) to 0 (all 0 or 1). A bimodality coefficient above 0.56 suggests
# two peaks. `flips` counts crossings of 0.5.

# %%
convergence = sl.check_convergence(fit)
print(f"status: {fit.status}; nine heads of ten decided from step: {convergence.settled_step or 'never'}")
print(f"crossings of 0.5 in the last quarter of the steps: {convergence.late_flips}")
print(convergence.frame().iloc[::4].round(2).to_string(index=False))
sl.plots.alpha_histogram(fit)

# %% [markdown]
# ## Gates of the null
#
# The null has no mapping to learn. Where `null` is as binary as `fit`, or more so, *that* gates are binary says nothing
# about the task. *Which* gates are open may still: compare accuracies. (Alphas are kept by validation loss. A null's
# best are often early ones, near the start, where every head is mixed half and half, which alone does some of a task.)

# %%
sl.plots.alpha_histogram(null).show()
last_steps = {
    (kind, task): sl.check_convergence(task_fit).frame().iloc[-1][["undecided", "entropy", "bimodality"]]
    for kind, fits in {"fit": run.fits, "null": run.controls[shuffled]}.items()
    for task, task_fit in fits.items()
}
print(run.evaluations.accuracies()[["zero_shot", "ten_shot", "site", shuffled]].round(2).to_string())
pd.DataFrame(last_steps).T.astype(float).round(2).unstack(level=0)

# %% [markdown]
# ## Learning rates
#
# One task, many fits in one batch: half begin at random alphas, half at a constant, each with another learning rate and
# number of steps, and null fits beside them. The table shows how binary they end, and how accurate they are.

# %%
landscape = sl.fit_landscape(
    model,
    tasks["antonym"],
    sl.SiteConfig.quick(),
    n_fits=18,
    n_nulls=9,
    lrs=(0.02, 0.2, 0.5),
    n_steps=(50, 100),
    max_queries=32,
    max_lines=48,
)
landscape.frame().groupby(["null", "lr", "n_steps"])[["undecided", "loss", "accuracy"]].mean().round(2)

# %% [markdown]
# ## One basin?
#
# Agreement of the sets of every two fits, and the loss on the straight lines between them. A line that rises above its
# ends by more than a tenth of the gain has a barrier. The second figure is the plane through the best fit and the two
# that are furthest from it.

# %%
sl.plots.landscape(landscape).show()
sl.plots.landscape_slice(landscape)

# %%
print(f"verdict: {landscape.verdict}; share of lines without a barrier {landscape.free}")
print(f"binary at the end: {landscape.binary()} of the fits, {landscape.binary(null=True)} of the null fits")
print(f"open in every fit that improved: {landscape.always_open()}")
for finding in sl.diagnose(run).findings:
    if finding.code in ("not_binary", "null_as_binary"):
        print(f"{finding.state} {finding.code} ({finding.task}): {finding.meaning}")

# %% [markdown]
# **What we learned:** gates become binary under any steady pressure, faster with a higher learning rate, and a fit to
# noise gets there, too. So report binary gates only beside the null. Fits that differ in many heads can lie in one
# basin, equally good and joined without a barrier: then the loss leaves many alphas open, and only heads on which all
# starts agree count. **What we did not learn:** whether alphas of a large model, with a hundred times as many heads and
# less gradient for each, converge in the published number of steps; the same functions can test it.
