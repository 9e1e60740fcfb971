"""Faithfulness study: are the heads of a task sufficient, and are they necessary?"""
