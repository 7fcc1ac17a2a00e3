"""Build the site: notebooks, results and the package's reference as static HTML."""
