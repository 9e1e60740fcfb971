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
# A fit has two parts: *where* (the alphas) and *what* (the task embedding that they mix in). Taken from different
# tasks they can be put together again, which no similarity of maps can replace: maps may be alike by chance, and
# unlike maps may do the same.

# %%
import site_lens as sl

model = sl.load_model("demo")
names = ["english-french", "english-spanish", "english-german", "plural-singular", "past-gerund",
         "country-language", "country-currency", "pick_animal_3", "pick_fruit_3"]  # fmt: skip
tasks = sl.load_tasks("demo", names)
fits = sl.fit_site(model, tasks, sl.SiteConfig.quick(), seeds=range(2))

# %% [markdown]
# ## Maps that are alike
#
# Nine tasks of four families, two seeds each: 18 fits in one batch. A dot marks pairs of sets that share more heads
# than random sets with as many heads in each layer. Pairs with the same name differ in seed alone: what they share is
# the most that can be asked of two tasks.

# %%
sl.plots.similarity(sl.head_overlap([fit for name in tasks for fit in fits.of(name)]))

# %% [markdown]
# Where are the heads? Mean alpha of each layer, first seed of each task:

# %%
sl.plots.layer_profile(sl.head_overlap({name: fits[name, 0] for name in tasks}))

# %% [markdown]
# ## Where: alphas of one task, embedding of another
#
# Every column is a target with its own embedding, under the alphas of every source. On top of it stands what it is
# judged by: zero-shot, few-shot, its own fit, and its own alphas *shuffled among the heads of each layer*.

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
# `summarize_transfer` gives a verdict on the whole interval. `above_null` is the gain over the null: for alphas those
# shuffled within layers, for embeddings random directions of the same lengths. The permutation tests ask whether
# transfer follows shared heads (`overlap_p`) or known families (`family_p`).

# %%
reading = sl.summarize_transfer(matrix)
columns = ["kind", "verdict", "mean", "above_null", "above_null_low", "above_null_high", "overlap_p", "family_p"]
reading.frame()[columns].round(2)

# %% [markdown]
# A head that a source never needed may have stayed where it began, at alpha 0.5, and then mixes half of *any*
# embedding in. Rounding closes such heads, and with them what they let through:

# %%
rounded = sl.summarize_transfer(sl.transfer_matrix(model, tasks, fits, hard=True, max_queries=24))
rounded.frame()[columns].round(2)

# %% [markdown]
# ## Groups of tasks
#
# Average linkage on 1 - correlation of the alphas, averaged over seeds; the families are not shown to it.

# %%
clusters = sl.cluster_tasks(fits)
sl.plots.similarity(clusters)

# %% [markdown]
# ...and with heads and tasks grouped at once, to see which heads make a group:

# %%
sl.plots.co_clusters(sl.cocluster(fits))

# %% [markdown]
# ## In numbers

# %%
for kind, found in {"soft": reading, "rounded": rounded}.items():
    alphas = found.of("alphas")
    print(f"{kind} alphas of other tasks: {alphas.verdict}; {alphas.mean} of the gain of the own fit")
    print(f"    accuracy above that of alphas shuffled within layers {alphas.above_null}")
print(f"embeddings of other tasks: {reading.of('embedding').verdict}")
for label in range(clusters.n_clusters):
    print(f"cluster {label}: {', '.join(clusters.cluster(label))}")
print("stability:", clusters.stability)
print("agreement with families:", clusters.family_agreement)

# %% [markdown]
# **What we learned:** *what* is done lies in the embedding: with another task's embedding the target is lost. *Where*
# it is mixed in is far less particular. A high number under foreign alphas proves nothing until it stands beside a
# null, and maps can group by family while transfer does not follow them: similarity of maps and use of heads are two
# questions. **What we did not learn:** that heads are interchangeable in general. Two seeds and two dozen queries a
# task are few (the verdicts say when they are too few), every task is one that this small model was trained on, and
# families of two or three tasks give a permutation test little to permute.
