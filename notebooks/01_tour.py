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
# # A ten-minute tour
#
# **Question:** a model shown ten examples of a task does the task. Which of its attention heads carry it?
#
# We use the small model that comes with the package. It has 6 layers of 8 heads and has learned about a hundred word
# tasks *in context*: it is never told which task to do, it sees examples.

# %%
import tempfile

import site_lens as sl

model = sl.load_model("demo")
tasks = sl.load_tasks("demo", ["antonym", "english-french", "country-language", "choose_last_of_3", "pick_animal_3"])
antonym = tasks["antonym"]
print(model.grid, model.identity.architecture)
antonym.audit()

# %% [markdown]
# A prompt is text. Without examples the model can only guess which task is meant; with three it knows.

# %%
template = sl.PromptTemplate()
zero_shot = template.render([], antonym.test[0])
three_shot = template.render(antonym.train[:3], antonym.test[0])
print(three_shot.text, "->", antonym.test[0].output)
sl.generate(model, [zero_shot.text, three_shot.text], max_new_tokens=1)

# %% [markdown]
# ## Fit
#
# SITE averages each head's output over many ten-shot prompts, then learns one *alpha* per head: how much of that
# average to mix into a run *without* examples. All tasks are fitted in one batch. Every fit gets a control: the same
# loop with an embedding of zeros, so that the gates act alone.

# %%
run = sl.fit_and_evaluate(model, tasks, max_queries=50)
run.fits["antonym"].frame().sort_values("alpha", ascending=False).head()

# %% [markdown]
# ## Head map
#
# A head map shows one number per head. Yellow heads are replaced by the task's average, dark heads are left alone. It
# is *one seed*: read it as one draw.

# %%
sl.plots.head_map(run.fits["antonym"])

# %%
sl.plots.head_maps(run.fits)

# %% [markdown]
# ## Does it do the task?
#
# First-token accuracy on test queries, with 95% intervals, and paired differences averaged over tasks. Look at
# `site_zero_embedding` before you admire `site`: where gates alone do as well, the embedding adds nothing.

# %%
for other in ("ten_shot", "site_zero_embedding"):
    print(f"SITE minus {other}: {run.evaluations.mean_gain('site', over=other)}")
run.evaluations.accuracies().round(3)

# %%
sl.plots.accuracy(run.evaluations)

# %% [markdown]
# ## The same heads?
#
# Heads above 0.5 form a set, and sets can be compared. Heads of any task gather in some layers, so two sets share some
# heads by chance: `p_value` is how often random sets with as many heads in every layer share as many. Then three seeds
# of one task show how stable such a set is: mean alpha on the left, standard deviation on the right.

# %%
columns = ["record", "other", "n_shared", "n_record", "n_other", "jaccard", "p_value"]
overlap = sl.head_overlap(run.fits)
print("open in all five tasks:", overlap.shared())
overlap.frame()[columns].round(3)

# %%
seeds = sl.fit_site(model, antonym, seeds=[0, 1, 2])
print(sl.head_overlap(seeds).frame()[columns].round(3).to_string(index=False))
sl.plots.alpha_spread(seeds)

# %% [markdown]
# ## Save
#
# A record is two small files and loads without torch. The report is one offline HTML file.

# %%
folder = tempfile.mkdtemp()
run.save(folder)
sl.write_report(run, f"{folder}/report.html")
sl.Run.load(folder).fits["antonym"] == run.fits["antonym"]

# %% [markdown]
# **What we learned:** one alpha per head, learned in seconds, makes the model do most of these tasks without examples
# about as well as ten examples do, or better. **What we did not learn:** that the embedding matters (compare the
# control, task by task), that the map is unique (compare seeds), or anything about large models: this one was trained
# on such tasks, and is weak where a word is chosen by its position.
#
# Next: [reading a head map](02_head_map.ipynb), [your own task and model](03_your_own.ipynb),
# [transfer](04_transfer.ipynb), [convergence](05_convergence.ipynb), [rival methods](06_rival_methods.ipynb), [what a
# head does](07_head_roles.ipynb).
