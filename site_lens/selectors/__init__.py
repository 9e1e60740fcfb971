"""Ways to score heads; SITE is the first of them."""
