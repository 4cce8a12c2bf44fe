"""The comparison in every form: tables for a terminal, Markdown, LaTeX and CSV, and a page with curves and a gallery."""
