"""Drawings of the notebooks: films, sliders, intervals, and what each notebook draws of its own."""
