"""Public reports, each with the module that defines it; read at run time, too."""

from site_lens.report.comparison import write_comparison as write_comparison
from site_lens.report.images import write_image as write_image
from site_lens.report.images import write_images as write_images
from site_lens.report.report import write_report as write_report
from site_lens.report.tables import write_tables as write_tables
from site_lens.report.text_page import write_text_page as write_text_page
