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
# # Two prompts for one task
#
# **Question:** the same words asked in two ways, `Q: hot` / `A:` and `hot ->`. Does the model do the task with the
# same heads, and does what was learned under one prompt work under the other?
#
# Run it in
# [Colab](https://colab.research.google.com/github/site-lens/site_lens/blob/main/notebooks/10_two_prompts.ipynb) or in
# [Binder](https://mybinder.org/v2/gh/site-lens/site_lens/main?labpath=notebooks/10_two_prompts.ipynb).

# %%
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "site_lens[notebook,gguf]"], check=True)

# %%
import site_lens as sl

model = sl.load_model("smollm2")
task = sl.load_tasks("demo", ["antonym"])["antonym"]
arrow = sl.PromptTemplate(
    input_prefix="", input_separator=" ->", output_prefix="", output_separator="\n", space_before_input=False
)
templates = {"question": sl.PromptTemplate(), "arrow": arrow}
for template in templates.values():
    print(template.render(task.train[:2], task.test[0]).text, end="\n\n")

# %% [markdown]
# ## One fit a prompt

# %%
config = sl.SiteConfig.quick()
runs = {
    name: sl.fit_and_evaluate(model, task, config, template=template, n_starts=2, max_queries=40)
    for name, template in templates.items()
}
for name, run in runs.items():
    print(f"{name}: {run.paths['antonym'].sentence}")
    print(run.evaluations.accuracies()[["zero_shot", "ten_shot", "site_sparse", "gates_sparse"]].round(2))

# %% [markdown]
# ## The same heads?
#
# Shared heads, and how many random sets with as many heads in each layer would share.

# %%
chosen = {name: run.head_fits["antonym"] for name, run in runs.items()}
overlap = sl.head_overlap(chosen)
print(overlap.sentence("question", "arrow"))
sl.plots.head_difference(*(run.fits["antonym"] for run in runs.values()), names=tuple(runs))

# %% [markdown]
# ## Does one work under the other?
#
# Gates and embedding of one prompt, put into queries of the other.

# %%
for fitted, run in runs.items():
    for asked, template in templates.items():
        measured = sl.evaluate(model, task, run.head_fits, template=template, max_queries=40)["antonym"]
        print(f"fitted on {fitted}, asked as {asked}: {measured.accuracy('site')}")

# %% [markdown]
# **What we learned:** with ten examples the model is right on 20 of 40 words either way, but what was learned under
# one prompt does not carry over to the other. Asked as a question, the chosen heads are right on 27 of 40; with the
# arrow on 5, although the gates and embedding of the arrow, put into questions, reach 16. So the heads are told the
# task there, and the bare arrow hardly lets it through. The two sets share 35 heads where chance gives 28. A head map
# belongs to a prompt as well as to a task: say which template it was made with.
#
# **What we did not learn:** why the arrow fails. Its last token, `->`, stands for less than `A:` does, or the answer
# is written in a form that zero-shot queries never reach. Antonyms have 11 rows of valid and 42 of test: the
# intervals above are wide, and one task of one small model is a single case. [More
# templates](../docs/recipes/your-template.md) and `prompt_sensitivity` say how much hangs on the words around a
# query.
