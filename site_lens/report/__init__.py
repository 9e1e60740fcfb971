"""Reports: records in, one HTML file out that opens anywhere, offline, without torch or a model; images and tables."""

from site_lens.report.comparison import write_comparison as write_comparison
from site_lens.report.images import write_image as write_image
from site_lens.report.images import write_images as write_images
from site_lens.report.report import write_report as write_report
from site_lens.report.tables import write_tables as write_tables

__all__ = ["write_comparison", "write_image", "write_images", "write_report", "write_tables"]
