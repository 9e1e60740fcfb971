"""Transfer study: do the heads and the embedding of one task do another?"""
