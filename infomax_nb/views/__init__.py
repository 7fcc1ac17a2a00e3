"""Views of images: which there are, what is random about them, and their pixels."""
