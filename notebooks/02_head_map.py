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
# # Reading a head map, with its uncertainty
#
# **Question:** SITE gives every attention head one number. Which of these numbers would come again?
#
# SITE averages each head's output `z` (`hook_z` in TransformerLens) at the last token of many few-shot prompts: the
# *task embedding*. Then it learns one *alpha* in [0, 1] per head, the share of `z` that the embedding replaces in a
# prompt without examples, so that the model does the task. A head map shows these alphas. They come out of an
# optimiser, from a draw of prompts and a start, so that one map is one draw.

# %%
import site_lens as sl

model = sl.load_model("demo")
tasks = sl.load_tasks("demo", ["antonym", "english-french", "country-language"])

# %% [markdown]
# Every task is fitted with four seeds: each has its own prompts behind the embedding and its own training queries.
# Beside every fit stand two controls: an embedding of zeros, and a *null*, the same loop on queries whose answers
# were shuffled. All 36 fits run in one batch. `SiteConfig.quick()` is for many small fits; report the defaults.

# %%
shuffled = "site_shuffled_answers"
run = sl.fit_and_evaluate(
    model, tasks, sl.SiteConfig.quick(), seeds=range(4), controls=["site_zero_embedding", shuffled]
)

# %% [markdown]
# ## One map
#
# A square is a head, layer 0 at the bottom. Brackets join heads that share keys and values.

# %%
sl.plots.head_map(run.fits["antonym", 0])

# %% [markdown]
# ## The same task, four seeds
#
# Left the mean alpha, right its standard deviation. Yellow on the left and dark on the right: open in every fit.
# Green on the left and bright on the right: open in some.

# %%
sl.plots.alpha_spread(run.fits.of("antonym"))

# %% [markdown]
# ## How much do two maps agree?
#
# We add fits that begin at random alphas instead of 0.5. Correlations over heads: `sampling` of two fits that began
# alike, `starts` of two that did not, and `elsewhere`, with fits of *other tasks*: the agreement that comes for
# nothing. A map can be trusted as far as the lower of the first two lies above the last.

# %%
others = sl.fit_site(model, tasks, sl.SiteConfig.quick(init="random"), seeds=[4, 5])
agreement = sl.seed_agreement(sl.SiteFits([*run.fits.values(), *others.values()]))
agreement.frame().round(2)

# %% [markdown]
# ## More than the layers give?
#
# Heads that carry tasks gather in some layers, so that two sets share heads by chance. A dot marks pairs whose sets
# (alpha above 0.5) share more than random sets with as many heads *in each layer* do. If maps belong to tasks, the
# dots stand in blocks along the diagonal.

# %%
overlap = sl.head_overlap([fit for name in tasks for fit in run.fits.of(name)])
sl.plots.similarity(overlap)

# %% [markdown]
# What is left when only heads count that all four fits of a task open:

# %%
for name in tasks:
    same = sl.head_overlap(run.fits.of(name))
    print(f"{name}: {len(same.heads_of(f'{name}#0'))} heads in the first fit; in all four {same.shared()}")

# %% [markdown]
# ## Does the map belong to the task at all?
#
# The null was trained on shuffled answers; what it opens, too, need not be the task's. Red: higher in the fit; blue:
# higher in the null.

# %%
null = run.controls[shuffled]["antonym", 0]
sl.plots.head_difference(run.fits["antonym", 0], null, title="antonym: fit minus null")

# %% [markdown]
# ## And does it do the task?
#
# A set of heads stands for a fit only where rounding the alphas (`site_hard`) costs little, and the embedding counts
# only where gates alone (`site_zero_embedding`) fall short.

# %%
methods = ["zero_shot", "ten_shot", "site", "site_hard", "site_zero_embedding", shuffled]
run.evaluations.accuracies()[methods].round(2)

# %% [markdown]
# `diagnose` makes these checks, and some more, for every task:

# %%
for finding in sl.diagnose(run).having("fail", "warn"):
    print(f"{finding.state} {finding.code} ({finding.task}): {finding.meaning}")

# %% [markdown]
# ## In numbers

# %%
for one in agreement.tasks:
    pair = sl.head_overlap({"fit": run.fits[one.task, 0], "null": run.controls[shuffled][one.task, 0]}).frame().iloc[0]
    print(f"{one.task}: two fits correlate by {one.own:.2f}, with other tasks by {one.elsewhere:.2f}")
    print(f"    {pair.n_shared} of {pair.n_record} open heads are open in its null, too (p = {pair.p_value:.2g})")

# %% [markdown]
# **What we learned:** how to tell the part of a map that comes again from the part that was drawn: seeds and starts
# against other tasks, sets against layer-matched chance, fits against a null, rounded against soft. **What we did not
# learn:** what a head does ([07](07_head_roles.ipynb)), whether more steps would settle the rest
# ([05](05_convergence.ipynb)), or how stable maps of large models are: this is a small model, and few seeds.
