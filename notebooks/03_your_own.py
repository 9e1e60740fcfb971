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
# # Your own task, your own model
#
# **Question:** I have a spreadsheet of pairs and a checkpoint in a folder. Which heads carry my task in my model, and
# may I believe it?
#
# Everything here works on any checkpoint that TransformerLens' `TransformerBridge` loads. So that nothing is
# downloaded, "my checkpoint" is a copy of the demo model.

# %%
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

import pandas as pd
import site_lens as sl

folder = Path(tempfile.mkdtemp())
checkpoint = shutil.copytree(files("site_lens") / "assets" / "demo_model", folder / "my-model")

# %% [markdown]
# ## The task: a table with two columns

# %%
PAIRS = """hot-cold big-small old-young good-bad rich-poor fast-slow early-late wide-narrow deep-shallow high-low
loud-quiet hard-soft wet-dry dark-bright full-empty far-near strong-weak happy-sad clean-dirty sharp-blunt thick-thin
long-brief sweet-sour true-false open-closed brave-cowardly honest-deceitful love-hate give-take win-lose"""
pairs = [pair.split("-") for pair in PAIRS.split()]
table = pd.DataFrame(pairs + [pair[::-1] for pair in pairs], columns=["word", "opposite"])
table.to_csv(folder / "opposites.csv", index=False)
table.head(3)

# %% [markdown]
# Columns have names. Forget to say them, and the error says what to do:

# %%
try:
    sl.load_task(folder / "opposites.csv")
except sl.TaskFileError as error:
    print(str(error).replace(str(folder), "..."))

# %%
task = sl.load_task(folder / "opposites.csv", input_column="word", output_column="opposite")
task.audit()

# %% [markdown]
# Rows without splits are divided 70/9/21, as in the paper. The audit counts what makes an accuracy hard to believe.
# Here is the same table after a careless merge: rows twice, and one word with two answers.

# %%
careless = pd.concat([table, table.head(20), pd.DataFrame([["hot", "mild"]], columns=table.columns)])
careless.to_csv(folder / "careless.csv", index=False)
sl.load_task(folder / "careless.csv", input_column="word", output_column="opposite").audit()

# %% [markdown]
# ## The model: a folder
#
# `load_model` checks on four tokens that heads can be read and changed, and refuses the model otherwise. `check_model`
# (`site-lens doctor` on the command line) measures everything that fits rely on: padding, BOS, the key-value cache,
# gradients, long prompts. Numbers are gaps in units of the logits' standard deviation.

# %%
model = sl.load_model(checkpoint)
pd.DataFrame(sl.check_model(model))[["code", "state", "value", "threshold", "meaning"]].round(7)

# %% [markdown]
# A model that you have already booted can be wrapped. Hand in the checkpoint's own tokenizer: TransformerLens gives
# its models one that adds BOS.

# %%
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer

bridge = TransformerBridge.boot_transformers(str(checkpoint), device="cpu")
wrapped = sl.wrap_model(bridge, tokenizer=AutoTokenizer.from_pretrained(checkpoint), name="mine")
wrapped.grid == model.grid, wrapped.identity.weights_digest == model.identity.weights_digest

# %% [markdown]
# ## How the model sees the task
#
# SITE acts at the last token of the prompt and is trained on the *first token* of the answer. Look at both before you
# fit: a template that splits the answer in a strange place spoils everything behind it. (The template is yours, too:
# `sl.PromptTemplate(input_prefix="Word:", output_prefix="Opposite:")`.)

# %%
prompt = sl.PromptTemplate().render(task.train[:2], task.test[0])
tokens, with_answer = (
    model.encoder.texts(row) for row in model.encoder.encode([prompt.text, prompt.text + prompt.answer])
)
print(tokens, "->", with_answer[len(tokens) :])

# %% [markdown]
# ## Fit
#
# The folder is written as the study goes on. Five demonstrations a prompt, as there are few rows.

# %%
config = sl.SiteConfig.quick(n_shots=5)
run = sl.fit_and_evaluate(model, task, config, n_eval_shots=5, folder=folder / "run")
sl.plots.accuracy(run.evaluations)

# %% [markdown]
# One map is one draw. Three seeds, in one batch:

# %%
seeds = sl.fit_site(model, task, config, seeds=range(3))
sl.plots.alpha_spread(seeds)

# %% [markdown]
# Few rows make wide intervals, and the toolkit says so:

# %%
for finding in sl.diagnose(run).having("fail", "warn"):
    print(f"{finding.state} {finding.code}: {finding.meaning}. {finding.advice}")

# %% [markdown]
# ## What a study of nothing looks like
#
# The same call on a random model of the same shape. It loads, it is hooked rightly, and a head map can be drawn.
# Nothing in the map says that it is empty: the accuracy does.

# %%
import torch
from transformers import AutoConfig, AutoModelForCausalLM

torch.manual_seed(0)
AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(checkpoint)).save_pretrained(folder / "random-model")
AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder / "random-model")
nothing = sl.fit_and_evaluate(sl.load_model(folder / "random-model"), task, config, n_eval_shots=5)
sl.plots.head_map(nothing.fits["opposites"], title="a random model")

# %% [markdown]
# ## In numbers

# %%
for name, study in {"my model": run, "random model": nothing}.items():
    found = study.evaluations["opposites"]
    print(f"{name}: zero-shot {found.accuracy('zero_shot')}, SITE {found.accuracy('site')}, n = {len(found.queries)}")
    print("   status of the fits:", *(fit.status for fit in study.fits.values()))
report = sl.write_report(run, folder / "report.html")

# %% [markdown]
# On the command line the same is
#
#     site-lens tasks audit opposites.csv --input-column word --output-column opposite
#     site-lens doctor my-model
#     site-lens fit opposites.csv --model my-model --input-column word --output-column opposite \
#         --settings quick --n-shots 5 --n-eval-shots 5 --out runs/mine
#     site-lens diagnose runs/mine
#     site-lens report runs/mine
#
# **What we learned:** a table and a folder are enough, and what is wrong with either is said before the first step or
# beside the result. A map alone never says whether there was anything to find. **What we did not learn:** much about
# opposites: there are few test queries, the model was trained on such pairs, and words outside of its vocabulary
# would fall into letters.
