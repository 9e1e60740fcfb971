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
# **Question:** alpha says how much of a head the task embedding may replace. What does the head look at, what does
# its share of the embedding say, and is it missed when it is gone?
#
# Three tasks that are asked with the same words: `Q: dog` may want the French word, the Spanish word, or the
# category.

# %%
import site_lens as sl

model = sl.load_model("demo")
tasks = sl.load_tasks("demo", ["english-french", "english-spanish", "object-category"])
fits = sl.fit_site(model, tasks, sl.SiteConfig.quick())
french = fits["english-french"]
sl.plots.head_map(french)

# %% [markdown]
# ## Where, and what
#
# `injection_edits` turns gates and an embedding into edits at `hook_z`; `generate` answers under them. Bare queries
# first, then under the *French* gates with the embedding of each task:

# %%
queries = [sl.PromptTemplate().query_text(word) for word in ("dog", "chair", "apple")]
print("no edit:", sl.generate(model, queries, max_new_tokens=1))
for name, fit in fits.items():
    edits = sl.injection_edits(model, french.gates, fit.embedding)
    print(f"{name} embedding:", sl.generate(model, queries, edits, max_new_tokens=1))

# %% [markdown]
# So the embedding says *what*. Which heads' share of it says it? `head_profiles` injects one head at a time, alpha 1
# and all others left alone. `answer_gain`: nats that the right answer gains. `promoted`: tokens whose logits rise
# most. `written`: what the share says straight through the unembedding, without the layers between. `copying` is
# above 0 where a head makes what it attends to more probable.

# %%
profiles = sl.head_profiles(model, tasks, fits, heads=model.grid, n_prompts=8)


def said(heads):
    return heads[["promoted", "written"]].map(lambda tokens: " ".join(token.strip() for token in tokens[:4]))


strongest = profiles.frame().query("task == 'english-french'").nlargest(6, "answer_gain")
strongest[["head", "alpha", "answer_gain", "to_answer", "induction", "copying"]].round(2).join(said(strongest))

# %% [markdown]
# The same heads on another task, to see what belongs to the head and what to the task:

# %%
again = profiles.frame().query("task == 'object-category' and head in @strongest['head']")
again[["head", "alpha", "answer_gain", "to_answer"]].round(2).join(said(again))

# %% [markdown]
# ## What they look at
#
# Where the attention of the last token goes in few-shot prompts. One prompt, token by token, for these heads:

# %%
sample = sl.sample_attention(model, tasks["english-french"], strongest["head"], n_shots=[3])
sl.plots.attention(sample)

# %% [markdown]
# And the means over prompts, for the four heads of highest *alpha* of every task, which need not be the same heads:

# %%
highest = sl.head_profiles(model, tasks, fits, n_prompts=8)
sl.plots.attention_shares(highest, task="english-french")

# %% [markdown]
# ## Is it missed?
#
# Knock one head out of few-shot prompts: its `z` at the last token becomes the mean over prompts with *shuffled
# labels*, which keeps the form and loses the mapping. Red: the answer loses by it. Blue: the answer gains.

# %%
config = sl.ComparisonConfig(n_prompts=10, n_probes=8)
missed = sl.score_heads(model, tasks, ["mean_ablation"], config)["mean_ablation"]
sl.plots.head_map(missed["english-french"])

# %% [markdown]
# ## Several at once
#
# One head is seldom enough, and seldom missed, for others stand in. So take the first k of an order: alone
# (sufficiency), and out of few-shot prompts (necessity). Bands are random orders.

# %%
curves = sl.faithfulness_curves(
    model, tasks, fits, scores={"mean_ablation": missed}, ks=[1, 2, 4, 8, 16, 32], n_random=3, max_queries=24
)
sl.plots.faithfulness(curves)

# %%
sl.plots.faithfulness(curves, direction="necessity")

# %% [markdown]
# ## In numbers

# %%
print("Rank correlations over all heads:")
for name in tasks:
    heads = profiles.frame().query("task == @name")
    heads = heads.assign(missed=[missed[name][head] for head in heads["head"]])
    ranks = heads[["alpha", "answer_gain", "missed"]].corr("spearman")
    print(f"    {name}: alpha and alone {ranks.loc['alpha', 'answer_gain']:.2f}, alpha and missed", end=" ")
    print(f"{ranks.loc['alpha', 'missed']:.2f}, alone and missed {ranks.loc['answer_gain', 'missed']:.2f}")
print("Area of SITE's order less that of layer-matched random ones, with its interval:")
for direction in ("sufficiency", "necessity"):
    print(f"    {direction}: {curves.area_difference(direction, 'site', 'random_layer_matched')}")

# %% [markdown]
# **What we learned:** the same gates do another task when they are given another embedding: alpha says where a task
# can be put in, the embedding says which. Few heads say it by themselves: they look at the demonstrations' answers
# and copy them, so that their mean over prompts is a vote for words of the right kind. High alpha, a strong voice
# alone, and being missed are three measurements that need not agree. **What we did not learn:** a mechanism.
# Attention is not influence, direct logits leave out the layers behind, a knock-out at the last token leaves the
# other tokens alone, and a small model trained on a hundred tasks may divide the work among its heads as no large
# model does.
