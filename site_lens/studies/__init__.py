"""Studies, one folder each: result, measurement, plot and section of the report."""
