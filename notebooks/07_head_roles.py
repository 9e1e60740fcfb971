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
# # From a head to what it does
#
# **Question:** alpha says how much of a head the task embedding may replace. What does the head attend to, what does
# its share of the embedding promote, and is the head needed?
#
# Three tasks share the same queries: `Q: dog` may ask for the French word, the Spanish word, or the category.
#
# Run it in [Colab](https://colab.research.google.com/github/site-lens/site_lens/blob/main/notebooks/07_head_roles.ipynb)
# or in [Binder](https://mybinder.org/v2/gh/site-lens/site_lens/main?labpath=notebooks/07_head_roles.ipynb).

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "site_lens[notebook,gguf]"], check=True)

# %%
import pandas as pd
import site_lens as sl

model = sl.load_model("demo")
tasks = sl.load_tasks("demo", ["english-french", "english-spanish", "object-category"])
fits = sl.fit_site(model, tasks, sl.SiteConfig.quick())
french = fits["english-french"]
sl.plots.head_map(french)

# %% [markdown]
# ## Where, and what
#
# `injection_edits` turns gates and an embedding into edits at `hook_z`; `generate` answers under them. First without
# edits, then under the *French* gates with the embedding of each task:

# %%
queries = [sl.PromptTemplate().query_text(word) for word in ("dog", "chair", "apple")]
print("no edit:", sl.generate(model, queries, max_new_tokens=1))
for name, fit in fits.items():
    edits = sl.injection_edits(model, french.gates, fit.embedding)
    print(f"{name} embedding:", sl.generate(model, queries, edits, max_new_tokens=1))

# %% [markdown]
# So the embedding says *what*. Which heads carry it? `head_profiles` injects one head at a time, with alpha 1 and all
# others left alone. `answer_gain`: nats that the right answer gains. `promoted`: tokens whose logits rise most.
# `written`: the share's direct effect through the unembedding, without later layers. `copying` is above 0 where a head
# makes the tokens it attends to more probable. The lower half has the same heads on another task, to separate head
# from task.

# %%
profiles = sl.head_profiles(model, tasks, fits, heads=model.grid, n_prompts=8)


def top_tokens(heads):
    return heads[["promoted", "written"]].map(lambda tokens: " ".join(token.strip() for token in tokens[:4]))


strongest = profiles.frame().query("task == 'english-french'").nlargest(6, "answer_gain")
on_category = profiles.frame().query("task == 'object-category' and head in @strongest['head']")
columns = ["task", "head", "alpha", "answer_gain", "to_answer", "induction", "copying"]
pd.concat([heads[columns].round(2).join(top_tokens(heads)) for heads in (strongest, on_category)])

# %% [markdown]
# ## Attention
#
# Attention of the last token in few-shot prompts: one prompt, token by token, for these heads. Then means over prompts
# for the four heads of highest *alpha* of every task, which need not be the same heads.

# %%
sample = sl.sample_attention(model, tasks["english-french"], strongest["head"], n_shots=[3])
sl.plots.attention(sample).show()
highest = sl.head_profiles(model, tasks, fits, n_prompts=8)
sl.plots.attention_shares(highest, task="english-french")

# %% [markdown]
# ## Ablation of one head
#
# Mean ablation in few-shot prompts: a head's `z` at the last token becomes the mean over prompts with *shuffled
# labels*, which keeps the form and loses the mapping. Red: the answer loses by it. Blue: the answer gains.

# %%
config = sl.ComparisonConfig(n_prompts=10, n_probes=8)
ablation = sl.score_heads(model, tasks, ["mean_ablation"], config)["mean_ablation"]
sl.plots.head_map(ablation["english-french"])

# %% [markdown]
# ## Several heads at once
#
# One head is seldom enough, and seldom needed, because others replace it. So take the first k heads of an order: alone
# (sufficiency), and removed from few-shot prompts (necessity). Bands are random orders.

# %%
curves = sl.faithfulness_curves(
    model, tasks, fits, scores={"mean_ablation": ablation}, ks=[1, 2, 4, 8, 16, 32], n_random=3, max_queries=24
)
sl.plots.faithfulness(curves).show()
sl.plots.faithfulness(curves, direction="necessity")

# %%
print("Rank correlations over all heads:")
for name in tasks:
    heads = profiles.frame().query("task == @name")
    heads = heads.assign(ablation=[ablation[name][head] for head in heads["head"]])
    ranks = heads[["alpha", "answer_gain", "ablation"]].corr("spearman")
    print(f"    {name}: alpha and answer_gain {ranks.loc['alpha', 'answer_gain']:.2f}, alpha and ablation", end=" ")
    print(f"{ranks.loc['alpha', 'ablation']:.2f}, answer_gain and ablation {ranks.loc['answer_gain', 'ablation']:.2f}")
print("Area of SITE's order less that of layer-matched random ones, with its interval:")
for direction in ("sufficiency", "necessity"):
    print(f"    {direction}: {curves.area_difference(direction, 'site', 'random_layer_matched')}")

# %% [markdown]
# **What we learned:** the same gates do another task when given another embedding: alpha says where a task can be
# injected, the embedding says which. Few heads carry it by themselves: they attend to the demonstrations' answers and
# copy them, so their mean over prompts votes for words of the right kind. High alpha, a large gain alone, and necessity
# are three measurements that need not agree. **What we did not learn:** a mechanism. Attention is not influence, direct
# logits leave out later layers, ablation at the last token leaves other tokens alone, and a small model trained on a
# hundred tasks may divide the work among its heads as no large model does.
