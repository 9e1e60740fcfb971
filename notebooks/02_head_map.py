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
# **Question:** SITE gives every attention head one number. Which of these numbers would another run reproduce?
#
# SITE averages each head's output `z` (`hook_z` in TransformerLens) at the last token of many few-shot prompts: the
# *task embedding*. Then it learns one *alpha* in [0, 1] per head, the share of `z` that the embedding replaces in a
# prompt without examples. A head map shows these alphas. They come from an optimiser, a draw of prompts and a starting
# point, so one map is one draw.
#
# Here every task is fitted with four seeds: each has its own prompts behind the embedding and its own training queries.
# Every fit has two controls: an embedding of zeros, and a *null*, the same loop on queries with shuffled answers. All
# 36 fits run in one batch. `SiteConfig.quick()` is for many small fits; report the defaults.

# %%
import site_lens as sl

model = sl.load_model("demo")
tasks = sl.load_tasks("demo", ["antonym", "english-french", "country-language"])
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
# ## Four seeds of one task
#
# Mean alpha on the left, standard deviation on the right. Yellow on the left and dark on the right: open in every fit.
# Green on the left and bright on the right: open in some.

# %%
sl.plots.alpha_spread(run.fits.of("antonym"))

# %% [markdown]
# ## Agreement of two maps
#
# We add fits that begin at random alphas instead of 0.5. Correlations over heads: `sampling` of two fits with equal
# starts, `starts` of two with different starts, and `elsewhere` with fits of *other tasks*. A map can be trusted as far
# as the lower of the first two exceeds the last.

# %%
others = sl.fit_site(model, tasks, sl.SiteConfig.quick(init="random"), seeds=[4, 5])
agreement = sl.seed_agreement(sl.SiteFits([*run.fits.values(), *others.values()]))
agreement.frame().round(2)

# %% [markdown]
# ## Overlap beyond layers
#
# Heads that carry tasks gather in some layers, so two sets share heads by chance. A dot marks pairs whose sets (alpha
# above 0.5) share more than random sets with as many heads *in each layer*. If maps belong to tasks, the dots form
# blocks along the diagonal. Below: the heads that all four fits of a task open.

# %%
overlap = sl.head_overlap([fit for name in tasks for fit in run.fits.of(name)])
sl.plots.similarity(overlap)

# %%
for name in tasks:
    same_task = sl.head_overlap(run.fits.of(name))
    print(f"{name}: {len(same_task.heads_of(f'{name}#0'))} heads in the first fit; in all four {same_task.shared()}")

# %% [markdown]
# ## Fit minus null
#
# The null was trained on shuffled answers; heads that it opens as well need not be the task's. Red: higher in the fit;
# blue: higher in the null.

# %%
null = run.controls[shuffled]["antonym", 0]
sl.plots.head_difference(run.fits["antonym", 0], null, title="antonym: fit minus null")

# %% [markdown]
# ## Accuracy and checks
#
# A set of heads represents a fit only if rounding the alphas (`site_hard`) costs little. The embedding matters only
# where gates alone (`site_zero_embedding`) fall short. `diagnose` makes these checks, and more, for every task.

# %%
for finding in sl.diagnose(run).having("fail", "warn"):
    print(f"{finding.state} {finding.code} ({finding.task}): {finding.meaning}")
methods = ["zero_shot", "ten_shot", "site", "site_hard", "site_zero_embedding", shuffled]
run.evaluations.accuracies()[methods].round(2)

# %%
for task in agreement.tasks:
    fit, null = run.fits[task.task, 0], run.controls[shuffled][task.task, 0]
    pair = sl.head_overlap({"fit": fit, "null": null}).frame().iloc[0]
    print(f"{task.task}: two fits correlate by {task.own:.2f}, with other tasks by {task.elsewhere:.2f}")
    print(f"    {pair.n_shared} of {pair.n_record} open heads are open in its null, too (p = {pair.p_value:.2g})")

# %% [markdown]
# **What we learned:** how to separate the reproducible part of a map from the draw: seeds and starts against other
# tasks, sets against layer-matched chance, fits against a null, rounded against soft. **What we did not learn:** what a
# head does ([07](07_head_roles.ipynb)), whether more steps would settle the rest ([05](05_convergence.ipynb)), or how
# stable maps of large models are: this is a small model, and few seeds.
