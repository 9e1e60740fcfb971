"""Prompt sensitivity study: how much depends on the prompts that were drawn?"""
