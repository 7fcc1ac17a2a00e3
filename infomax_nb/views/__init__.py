"""Views of images: their recipes, their random numbers and their pixels."""
