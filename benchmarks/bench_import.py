"""asv: what `import sdtwkit` costs, NumPy's own import included and apart."""


class Import:
    """Imports in a fresh interpreter."""

    number, repeat = 1, 10

    def timeraw_numpy(self):
        return "import numpy"

    def timeraw_sdtwkit(self):
        return "import sdtwkit"

    def timeraw_sdtwkit_beyond_numpy(self):
        return "import sdtwkit", "import numpy"
