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
# # Transfer and clusters
#
# **Question:** do tasks share their heads, and if they do, can one task's alphas carry another?
#
# A fit has two parts: *where* (the alphas) and *what* (the task embedding that they mix in). Combining the parts of
# different tasks tests more than similarity of maps: maps may be alike by chance, and unlike maps may do the same.
#
# Run it in [Colab](https://colab.research.google.com/github/site-lens/site_lens/blob/main/notebooks/04_transfer.ipynb)
# or in [Binder](https://mybinder.org/v2/gh/site-lens/site_lens/main?labpath=notebooks/04_transfer.ipynb).

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "site_lens[notebook,gguf]"], check=True)

# %%
import pandas as pd
import site_lens as sl

model = sl.load_model("demo")
names = ["english-french", "english-spanish", "english-german", "plural-singular", "past-gerund",
         "country-language", "country-currency", "pick_animal_3", "pick_fruit_3"]  # fmt: skip
tasks = sl.load_tasks("demo", names)
fits = sl.fit_site(model, tasks, sl.SiteConfig.quick(), seeds=range(2))

# %% [markdown]
# ## Similar maps
#
# Nine tasks of four families, two seeds each: 18 fits in one batch. A dot marks pairs of sets that share more heads
# than random sets with as many heads in each layer. Pairs with the same name differ in seed only; their overlap is the
# most to expect of two tasks. The second figure shows in which layers the heads are: mean alpha of each layer, first
# seed of each task.

# %%
sl.plots.similarity(sl.head_overlap([fit for name in tasks for fit in fits.of(name)])).show()
sl.plots.layer_profile(sl.head_overlap({name: fits[name, 0] for name in tasks}))

# %% [markdown]
# ## Where: alphas of one task, embedding of another
#
# Every column is a target with its own embedding, under the alphas of every source. The top rows are for comparison:
# zero-shot, few-shot, its own fit, and its own alphas *shuffled among the heads of each layer*.

# %%
matrix = sl.transfer_matrix(model, tasks, fits, max_queries=24)
sl.plots.transfer(matrix)

# %% [markdown]
# ## What: embedding of one task, alphas of another
#
# Off the diagonal the model should now do the *source's* task, and so fail at the target's.

# %%
sl.plots.transfer(matrix, kind="embedding")

# %% [markdown]
# ## Beyond chance?
#
# `summarize_transfer` gives verdicts from whole intervals. `above_null` is the gain over the null: shuffled alphas, or
# random embeddings of equal norms. Permutation tests ask whether transfer follows shared heads (`overlap_p`) or known
# families (`family_p`).
#
# A head that a source never needed may have stayed at alpha 0.5, and then mixes half of *any* embedding in. Rounding
# (`hard=True`) closes such heads.

# %%
columns = ["kind", "verdict", "mean", "above_null", "above_null_low", "above_null_high", "overlap_p", "family_p"]
summary = sl.summarize_transfer(matrix)
rounded = sl.summarize_transfer(sl.transfer_matrix(model, tasks, fits, hard=True, max_queries=24))
pd.concat({"soft": summary.frame()[columns], "rounded": rounded.frame()[columns]}).round(2)

# %% [markdown]
# ## Groups of tasks
#
# Average linkage on 1 - correlation of the alphas, averaged over seeds; the families are not an input. The second
# figure groups heads and tasks at once, to show which heads make a group.

# %%
clusters = sl.cluster_tasks(fits)
sl.plots.similarity(clusters).show()
sl.plots.co_clusters(sl.cocluster(fits))

# %%
for kind, result in {"soft": summary, "rounded": rounded}.items():
    alphas = result.of("alphas")
    print(f"{kind} alphas of other tasks: {alphas.verdict}; {alphas.mean} of the gain of the own fit")
    print(f"    accuracy above that of alphas shuffled within layers {alphas.above_null}")
print(f"embeddings of other tasks: {summary.of('embedding').verdict}")
for label in range(clusters.n_clusters):
    print(f"cluster {label}: {', '.join(clusters.cluster(label))}")
print("stability:", clusters.stability)
print("agreement with families:", clusters.family_agreement)

# %% [markdown]
# **What we learned:** *what* is done lies in the embedding: with another task's embedding the target is lost. *Where*
# it is mixed in is far less particular. A high number under foreign alphas proves nothing without a null, and maps can
# group by family while transfer does not: similarity of maps and use of heads are two questions. **What we did not
# learn:** that heads are interchangeable in general. Two seeds and two dozen queries a task are few (the verdicts say
# when they are too few), this small model was trained on every task, and families of two or three tasks give a
# permutation test little to permute.
