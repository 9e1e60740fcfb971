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
# # Which heads carry the task
#
# **Question:** which few attention heads are enough to do a task, and would another run name the same ones?
#
# SITE averages each head's output `z` (`hook_z` in TransformerLens) at the last token of many few-shot prompts: the
# *task embedding*. Then it learns one *alpha* in [0, 1] per head, the share of `z` that the embedding replaces in a
# prompt without examples. As published, nothing closes a head that does no harm, so about half of all heads stay open.
# A small *price* per open head, in nats, cures that: a head stays open only if it lowers the loss by more.
#
# Every task is fitted under several prices, from two seeds and starts, each with an embedding of its own.
# `SiteConfig.quick()` is for many small fits; report the defaults.
#
# Run it in [Colab](https://colab.research.google.com/github/site-lens/site_lens/blob/main/notebooks/02_head_map.ipynb)
# or in [Binder](https://mybinder.org/v2/gh/site-lens/site_lens/main?labpath=notebooks/02_head_map.ipynb).

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "site_lens[notebook,gguf]"], check=True)

# %%
import site_lens as sl

model = sl.load_model("demo")
tasks = sl.load_tasks("demo", ["antonym", "english-french", "english-german", "choose_first_of_3"])
run = sl.fit_and_evaluate(model, tasks, sl.SiteConfig.quick(), n_starts=2)

# %% [markdown]
# ## The answer
#
# One line a task: its chosen heads, and the share of the best gain over zero-shot that they keep.

# %%
for path in run.paths.values():
    print(path.sentence)
sl.plots.head_sets(run.paths)

# %% [markdown]
# Dots are the chosen set. *Needed* (orange): most fits open the head although every open head costs. *Harmful* (pink):
# none does, and most close it even where open heads are paid for, so its mean over few-shot prompts does damage. *Free*
# (grey): neither.
#
# ## How the set was chosen
#
# Above, the share of right answers on the rows of valid; below, the number of open heads, against the price. The dotted
# line marks the chosen price: the fewest heads among the prices that do as well as the best one, within a standard
# error of the difference or 95 % of the gain over zero-shot. The grey point is the same without an embedding.

# %%
path = run.paths["antonym"]
sl.plots.price_path(path)

# %% [markdown]
# ## How sure is it?
#
# `agreement` compares the sets of the fits at the chosen price (Jaccard index, 1: the same) with random sets that have
# as many heads in every layer. Two fits are few: the defaults make three. Core heads are in at least 80 % of the fits.
# Where fits disagree, several sets are enough, and the core is what to report.

# %%
for task, path in run.paths.items():
    if path.agreement is not None:
        print(f"{task}: sets of {path.sizes} heads, Jaccard {path.agreement.value:.2f}, by chance "
              f"{path.agreement.by_chance:.2f} (p = {path.agreement.p_value:.3f}); core: {path.core}")  # fmt: skip

# %% [markdown]
# ## Are they enough on other queries?
#
# On test rows: `site` is the dense, soft fit as published, `site_sparse` the chosen set, replaced wholly, and
# `gates_sparse` no more heads, chosen in the same way, silenced instead of replaced by the embedding. What the last one
# lacks is what the embedding says.

# %%
methods = ["zero_shot", "ten_shot", "site", "site_sparse", "gates_sparse"]
run.evaluations.accuracies()[methods].round(2)

# %% [markdown]
# ## Which tasks share heads?
#
# Analyses of head sets take the chosen sets: `run.head_fits`. A dot marks pairs that share more heads than random sets
# with as many heads *in each layer*.
#
# Below it is the dense map, the alphas of the published method. Alpha near 0.5 means little: every gate starts there,
# and a gate without gradient stays there. Brackets join heads that share keys and values.

# %%
sl.plots.similarity(sl.head_overlap(run.head_fits)).show()
sl.plots.head_map(run.fits["antonym"])

# %% [markdown]
# **What we learned:** a handful of heads does what half of all heads do in the dense fit, and seeds and starts agree on
# most of them. **What we did not learn:** whether the task can do without them
# ([questions](../docs/questions/are-they-necessary.md)), what a head does ([07](07_head_roles.ipynb)), or how many sets
# are enough: one set is not *the* set.
