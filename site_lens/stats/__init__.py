"""Statistics: intervals, paired tests, false discovery rate, permutation tests, variance components."""
