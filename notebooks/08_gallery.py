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
# # Gallery
#
# **Question:** which figures are there, and what does each of them take?
#
# Every figure is a plotly figure that a function of `sl.plots` makes of a record; `sl.write_image` writes it as SVG,
# PDF or PNG, in the width and font of a paper. The records here are small: eight tasks of the demo model, quick
# settings.
#
# Run it in [Colab](https://colab.research.google.com/github/site-lens/site_lens/blob/main/notebooks/08_gallery.ipynb)
# or in [Binder](https://mybinder.org/v2/gh/site-lens/site_lens/main?labpath=notebooks/08_gallery.ipynb).

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "site_lens[notebook,gguf]"], check=True)

# %%
import site_lens as sl

model = sl.load_model("demo")
names = ["english-french", "english-spanish", "plural-singular", "past-gerund", "country-language", "country-currency",
         "pick_animal_3", "pick_fruit_3"]  # fmt: skip
tasks = sl.load_tasks("demo", names)
config = sl.SiteConfig.quick()
run = sl.fit_and_evaluate(model, tasks, config, max_queries=30, n_attention_heads=6)
fit, path = run.fits["english-french"], run.paths["english-french"]

# %% [markdown]
# ## Which heads
#
# The chosen head set of every task, coloured by kind.

# %%
sl.plots.head_sets(run.paths)

# %% [markdown]
# The price at which a set was chosen.

# %%
sl.plots.price_path(path)

# %% [markdown]
# One map, two maps and their difference, and a map a task.

# %%
sl.plots.head_map(fit)

# %%
sl.plots.head_difference(fit, run.fits["english-spanish"])

# %%
sl.plots.head_maps(run.fits)

# %% [markdown]
# ## How sure
#
# Mean and spread of the alphas of one task over five seeds; the alpha of one head, seed by seed.

# %%
seeds = sl.fit_site(model, {name: tasks[name] for name in names[:2]}, config, seeds=range(5))
french = seeds.of("english-french")
sl.plots.alpha_spread(french)

# %%
sl.plots.head_paths(list(seeds.values()), next(iter(path.ranked)))

# %% [markdown]
# ## Did it converge
#
# Losses, the alphas as a fan of quantiles, and their distribution step by step.

# %%
sl.plots.training(fit)

# %%
sl.plots.alpha_paths(fit)

# %%
sl.plots.alpha_histogram(fit)

# %%
landscape = sl.fit_landscape(model, tasks["english-french"], config)
sl.plots.landscape(landscape)

# %%
sl.plots.landscape_slice(landscape)

# %% [markdown]
# ## The same heads?
#
# Similarity of all pairs, how many heads are shared by how many tasks, where they lie, groups of tasks, and tasks and
# heads grouped together.

# %%
overlap = sl.head_overlap(run.head_fits)
sl.plots.similarity(overlap)

# %%
sl.plots.overlap_counts(overlap)

# %%
sl.plots.layer_profile(overlap)

# %%
sl.plots.task_map(sl.cluster_tasks(run.fits))

# %%
sl.plots.co_clusters(sl.cocluster(run.fits))

# %% [markdown]
# ## Does it transfer
#
# Accuracy of every task under the alphas of every other; two tasks mixed.

# %%
sl.plots.transfer(sl.transfer_matrix(model, tasks, run.head_fits, max_queries=16))

# %%
pair = tasks["english-french"], tasks["english-spanish"]
sl.plots.task_arithmetic(sl.combine_tasks(model, *pair, run.fits, max_queries=16))

# %% [markdown]
# ## Are they necessary, and what do they hang on
#
# Accuracy against the number of heads; embeddings of more prompts and of more demonstrations; what each choice of the
# method is worth; what the content of the embedding contributes.

# %%
few = {name: tasks[name] for name in names[:3]}
curves = sl.faithfulness_curves(model, few, run.fits, ks=[1, 2, 4, 8, 16, 32], n_random=1, max_queries=16)
sl.plots.faithfulness(curves)

# %%
sl.plots.sensitivity(sl.prompt_sensitivity(model, few, config, n_prompts=[1, 3, 10], n_shots=[1, 3], max_queries=16))

# %%
sl.plots.fit_ablation(sl.ablate_fit(model, few, config, max_queries=16))

# %%
sl.plots.content_shares(sl.content_controls(model, few, config, max_queries=16))

# %% [markdown]
# ## What the heads do
#
# Where the last token attends to: one prompt through every head, and shares of attention over many prompts. Then what
# the same heads attend to in other text, here the prompts' own words.

# %%
sl.plots.attention(run.attention["english-french"])

# %%
sl.plots.attention_shares(sl.head_profiles(model, few, run.head_fits))

# %%
texts = [
    "one two three one two three",
    "Q: hot\nA: cold\n\nQ: hot\nA: cold",
    "The cat sat on the mat. The dog sat on the log.",
]
sl.plots.text_attention(sl.text_profiles(model, texts, list(path.ranked)))

# %% [markdown]
# ## Against other ways
#
# Accuracies of the run, task by task; means of several methods, and against the labelled rows that they use; how much
# selectors of heads agree.

# %%
sl.plots.accuracy(run.evaluations)

# %%
table = sl.method_table(run.evaluations)
sl.plots.method_means(table)

# %%
sl.plots.labelled_rows(table)

# %%
scores = sl.score_heads(model, few, ["site", "induction", "attribution_patching", "indirect_effect"])
sl.plots.selector_agreement(sl.compare_selectors(scores))
