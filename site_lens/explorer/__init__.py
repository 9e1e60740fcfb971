"""The explorer: look at the heads of a run by clicking, in Jupyter or on a local page, with a live model or without.

`state` and `facts` are plain Python; the panels are a thin view of ipywidgets over them. Nothing here imports torch: a
model comes in as a `LiveSide`.
"""
