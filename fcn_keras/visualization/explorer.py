"""A figure with sliders, for readers to turn; where nobody can, a still picture of the same figure."""

import base64
import inspect
import io


class Explorer:
    """A figure and the sliders that change it.

    In JupyterLab the sliders move it. On paper, on GitHub, on the site and without ipywidgets it is the picture of the
    first values: a cell's output holds both, and whoever shows it takes what it can show.

    Args:
        draw: A function of the sliders' values that returns a Matplotlib `Figure`. Its defaults are the first values.
        **choices: For each argument of `draw`, the values that its slider has, in order.

    Raises:
        ValueError: If an argument has no choices, or its default is not among them.

    Example:
        >>> from fcn_keras.visualization.style import canvas
        >>> def line(slope=1):
        ...     with canvas(3, 2) as figure:
        ...         figure.subplots().plot([0, 1], [0, slope])
        ...     return figure
        >>> explorer = Explorer(line, slope=range(5))
        >>> explorer.values
        {'slope': 1}
        >>> float(explorer.figure.axes[0].lines[0].get_ydata()[-1])
        1.0
    """

    def __init__(self, draw, **choices):
        first = {name: argument.default for name, argument in inspect.signature(draw).parameters.items()}
        if first.keys() != choices.keys():
            raise ValueError(f"Found choices for {list(choices)}: expected some for each of {list(first)}.")
        for name, values in choices.items():
            if first[name] not in values:
                raise ValueError(f"Found {name}={first[name]!r} as default: expected one of {list(values)}.")
        self.draw, self.choices, self.values = draw, choices, first

    @property
    def figure(self):
        """The figure of the current `values`."""
        return self.draw(**self.values)

    def widget(self):
        """The sliders above the picture, as an ipywidgets widget.

        Raises:
            ImportError: If ipywidgets is not installed.
        """
        return self._widget(self._png())

    def _widget(self, png):
        import ipywidgets

        picture = ipywidgets.Image(value=png, format="png")
        sliders = []
        for name, values in self.choices.items():
            options = {"options": list(values), "value": self.values[name], "continuous_update": False}
            slider = ipywidgets.SelectionSlider(description=name.replace("_", " "), **options)
            slider.observe(lambda change, name=name: self._turn(name, change.new, picture), "value")
            sliders.append(slider)
        return ipywidgets.VBox([*sliders, picture])

    def _turn(self, name, value, picture):
        self.values = self.values | {name: value}
        picture.value = self._png()

    def _png(self):
        png = io.BytesIO()
        self.figure.savefig(png, format="png", bbox_inches="tight")
        return png.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        """What Jupyter shows: the widget for those who can run it, the picture for all others."""
        png = self._png()
        bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": repr(self)}
        try:
            return self._widget(png)._repr_mimebundle_() | bundle
        except ImportError:
            return bundle

    def __repr__(self):
        return f"Explorer({', '.join(f'{name}={value!r}' for name, value in self.values.items())})"
