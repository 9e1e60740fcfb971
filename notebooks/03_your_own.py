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
# Everything here works on any checkpoint that TransformerLens' `TransformerBridge` loads. To avoid a download, "my
# checkpoint" is a copy of the demo model. The task is a table with two columns.
#
# Run it in [Colab](https://colab.research.google.com/github/site-lens/site_lens/blob/main/notebooks/03_your_own.ipynb)
# or in [Binder](https://mybinder.org/v2/gh/site-lens/site_lens/main?labpath=notebooks/03_your_own.ipynb).

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "site_lens[notebook,gguf]"], check=True)

# %%
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

import pandas as pd
import site_lens as sl
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

folder = Path(tempfile.mkdtemp())
checkpoint = shutil.copytree(files("site_lens") / "assets" / "demo_model", folder / "my-model")
PAIRS = """hot-cold big-small old-young good-bad rich-poor fast-slow early-late wide-narrow deep-shallow high-low
loud-quiet hard-soft wet-dry dark-bright full-empty far-near strong-weak happy-sad clean-dirty sharp-blunt thick-thin
long-brief sweet-sour true-false open-closed brave-cowardly honest-deceitful love-hate give-take win-lose"""
pairs = [pair.split("-") for pair in PAIRS.split()]
table = pd.DataFrame(pairs + [pair[::-1] for pair in pairs], columns=["word", "opposite"])
table.to_csv(folder / "opposites.csv", index=False)
table.head(3)

# %% [markdown]
# Columns are given by name. Without the names, the error says what to do. Rows without splits are divided 70/9/21, as
# in the paper. The audit counts problems that make an accuracy hard to believe. The second one is of the same table
# after a careless merge: duplicate rows, and one word with two answers.

# %%
try:
    sl.load_task(folder / "opposites.csv")
except sl.TaskFileError as error:
    print(str(error).replace(str(folder), "..."))
task = sl.load_task(folder / "opposites.csv", input_column="word", output_column="opposite")
print(task.audit())
careless = pd.concat([table, table.head(20), pd.DataFrame([["hot", "mild"]], columns=table.columns)])
careless.to_csv(folder / "careless.csv", index=False)
sl.load_task(folder / "careless.csv", input_column="word", output_column="opposite").audit()

# %% [markdown]
# ## Model: a folder
#
# `load_model` checks on a few tokens that heads can be read and changed, and refuses the model otherwise. `check_model`
# (`site-lens doctor` on the command line) measures everything that fits rely on: padding, BOS, the KV cache, gradients,
# long prompts. Numbers are gaps in units of the logits' standard deviation.
#
# A model that is already booted can be wrapped. Pass the checkpoint's own tokenizer: TransformerLens gives its models
# one that adds BOS.

# %%
model = sl.load_model(checkpoint)
bridge = TransformerBridge.boot_transformers(str(checkpoint), device="cpu")
wrapped = sl.wrap_model(bridge, tokenizer=AutoTokenizer.from_pretrained(checkpoint), name="mine")
print("the same weights:", wrapped.identity.weights_digest == model.identity.weights_digest)
pd.DataFrame(sl.check_model(model))[["code", "state", "value", "threshold", "meaning"]].round(7)

# %% [markdown]
# ## Tokens of the task
#
# SITE acts at the last token of the prompt and is trained on the *first token* of the answer. Look at both before you
# fit: a template that splits the answer in a strange place spoils the fit. (You can change the template, for example to
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
# Results are saved to the folder as the fit proceeds. Prompts have five demonstrations, because there are few rows. One
# map is one draw, so three seeds follow, in one batch. Few rows make wide intervals; `diagnose` says so.

# %%
config = sl.SiteConfig.quick(n_shots=5)
run = sl.fit_and_evaluate(model, task, config, n_eval_shots=5, save_to=folder / "run")
report = sl.write_report(run, folder / "report.html")
sl.plots.accuracy(run.evaluations)

# %%
for finding in sl.diagnose(run).having("fail", "warn"):
    print(f"{finding.state} {finding.code}: {finding.meaning}. {finding.advice}")
seeds = sl.fit_site(model, task, config, seeds=range(3))
sl.plots.alpha_spread(seeds)

# %% [markdown]
# ## A random model
#
# The same call on a random model of the same shape. It loads, it is hooked correctly, and a head map can be drawn. The
# map does not show that it is empty; the accuracy does.

# %%
torch.manual_seed(0)
AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(checkpoint)).save_pretrained(folder / "random-model")
AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder / "random-model")
random_run = sl.fit_and_evaluate(sl.load_model(folder / "random-model"), task, config, n_eval_shots=5)
for name, study in {"my model": run, "random model": random_run}.items():
    result = study.evaluations["opposites"]
    print(
        f"{name}: zero-shot {result.accuracy('zero_shot')}, SITE {result.accuracy('site')}, n = {len(result.queries)}"
    )
    print("   status of the fits:", *(fit.status for fit in study.fits.values()))
sl.plots.head_map(random_run.fits["opposites"], title="a random model")

# %% [markdown]
# The same on the command line:
#
#     site-lens tasks audit opposites.csv --input-column word --output-column opposite
#     site-lens doctor my-model
#     site-lens fit opposites.csv --model my-model --input-column word --output-column opposite \
#         --settings quick --n-shots 5 --n-eval-shots 5 --out runs/mine
#     site-lens diagnose runs/mine
#     site-lens report runs/mine
#
# **What we learned:** a table and a folder are enough, and problems with either are reported before the first step or
# beside the result. A map alone never shows whether there was anything to find. **What we did not learn:** much about
# opposites: there are few test queries, the model was trained on such pairs, and words outside its vocabulary would be
# split into letters.
