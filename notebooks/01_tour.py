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
# tasks *in context*: it is never told which task to do, it sees examples. Three of our tasks ask about the same words:
# `Q: dog` may ask for the French word, the Spanish word, or the category. Without examples the model can only guess
# which; with three it knows.
#
# Run it in [Colab](https://colab.research.google.com/github/site-lens/site_lens/blob/main/notebooks/01_tour.ipynb)
# or in [Binder](https://mybinder.org/v2/gh/site-lens/site_lens/main?labpath=notebooks/01_tour.ipynb).

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "site_lens[notebook,gguf]"], check=True)

# %%
import tempfile

import site_lens as sl

model = sl.load_model("demo")
tasks = sl.load_tasks("demo", ["english-french", "english-spanish", "object-category", "antonym"])
template, dog = sl.PromptTemplate(), sl.Example("dog", ("chien",))
zero_shot = template.render([], dog).text
prompts = {"no example": zero_shot} | {
    name: template.render([row for row in task.train if row.input != "dog"][:3], dog).text
    for name, task in tasks.items()
    if name != "antonym"
}
print(prompts["english-french"])
dict(zip(prompts, sl.generate(model, list(prompts.values()), max_new_tokens=1), strict=True))

# %% [markdown]
# ## Which heads carry the task?
#
# SITE averages each head's output over many ten-shot prompts into a *task embedding*, then learns one *alpha* per head:
# how much of that average to mix into a run *without* examples. A small price per open head leaves the few that are
# enough. All tasks are fitted in one batch, several times each, and every fit gets a control: the same loop with an
# embedding of zeros, so that the gates act alone.

# %%
run = sl.fit_and_evaluate(model, tasks, max_queries=50)
for path in run.paths.values():
    print(path.sentence)

# %%
sl.plots.head_sets(run.paths)

# %% [markdown]
# Dots are the chosen heads. *Needed* (orange): most fits open the head although every open head costs. *Harmful*
# (pink): none does. *Free* (grey): neither.
#
# ## What does the model say?
#
# Now the prompt without any example, with the *French* heads replaced. Their task embedding says what is done.

# %%
heads = run.paths["english-french"].sparse.gates
for name in ("english-french", "english-spanish", "object-category"):
    edits = sl.injection_edits(model, heads, run.fits[name].embedding)
    print(f"{name} embedding:", sl.generate(model, [zero_shot], edits, max_new_tokens=1))
run.evaluations["english-french"].examples(5, ["zero_shot", "ten_shot", "site_sparse", "gates_sparse"])

# %% [markdown]
# ## How often is it right?
#
# First-token accuracy on test queries, and paired differences averaged over tasks with 95% intervals. `site_sparse` is
# the chosen heads, `gates_sparse` no more heads, silenced instead of replaced: what it lacks is what the embedding
# says. `site` mixes the embedding into every head by its alpha.

# %%
for other in ("ten_shot", "gates_sparse"):
    print(f"site_sparse minus {other}: {run.evaluations.mean_gain('site_sparse', over=other)}")
sl.plots.accuracy(run.evaluations)

# %% [markdown]
# ## The same heads?
#
# Heads of any task gather in some layers, so two sets share some heads by chance: `p_value` is how often random sets
# with as many heads in every layer share as many.

# %%
overlap = sl.head_overlap(run.head_fits)
print("in the sets of all tasks:", overlap.shared())
overlap.frame()[["record", "other", "n_shared", "n_record", "n_other", "jaccard", "p_value"]].round(3)

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
# **What we learned:** a few heads, found in a minute, make the model do these tasks without examples about as well as
# ten examples do. The heads say *where* a task can be injected, the embedding says *which*. **What we did not learn:**
# that the sets are unique (compare fits), that the model cannot do without them, or anything about large models: this
# one was trained on such tasks ([a real model](../docs/results/smollm2.md)).
#
# Next: [which heads](02_head_map.ipynb), [your own task and model](03_your_own.ipynb), [transfer](04_transfer.ipynb),
# [convergence](05_convergence.ipynb), [rival methods](06_rival_methods.ipynb), [what a head does](07_head_roles.ipynb).
