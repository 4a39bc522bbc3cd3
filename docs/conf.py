"""How these pages are built: `make docs`."""

import importlib.metadata

project = "espeer"
author = "the authors of espeer"
release = importlib.metadata.version("espeer")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = []
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["misc.highlighting_failure"]  # TOML that shows an error, output of commands

autodoc_default_options = {"members": True, "undoc-members": False, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
nitpicky = False  # types of libraries that publish no index

html_theme = "furo"  # system fonts, nothing from elsewhere
html_title = "espeer"
html_show_copyright = False
html_theme_options = {"source_repository": "", "top_of_page_buttons": []}
