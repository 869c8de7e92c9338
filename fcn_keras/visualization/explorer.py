"""A figure with sliders; where sliders do not work, a still picture of the same figure."""

import base64
import inspect
import io


class Explorer:
    """A figure, and the sliders that change it.

    The output of a notebook cell holds both the sliders and a picture. JupyterLab shows the sliders. GitHub, the site,
    paper, and a computer without ipywidgets show the picture, drawn with the first values.

    Args:
        draw: Function of the values of the sliders that returns a Matplotlib `Figure`. Its defaults are the first
            values.
        **choices: For each argument of `draw`, the values of its slider, in order.

    Raises:
        ValueError: If an argument has no choices, or if its default is not among them.

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
            raise ValueError(f"Found choices for {list(choices)}: expected choices for each of {list(first)}.")
        for name, values in choices.items():
            if first[name] not in values:
                raise ValueError(f"Found {name}={first[name]!r} as default: expected one of {list(values)}.")
        self.draw, self.choices, self.values = draw, choices, first

    @property
    def figure(self):
        """The figure of the current `values`."""
        return self.draw(**self.values)

    def make_widget(self):
        """Returns the sliders above the picture, as an ipywidgets widget.

        Raises:
            ImportError: If ipywidgets is not installed.
        """
        return self._make_widget(self._draw_png())

    def _make_widget(self, png):
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
        picture.value = self._draw_png()

    def _draw_png(self):
        png = io.BytesIO()
        self.figure.savefig(png, format="png", bbox_inches="tight")
        return png.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        """The output of a cell: the widget for programs that can run it, the picture for all others."""
        png = self._draw_png()
        bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": repr(self)}
        try:
            return self._make_widget(png)._repr_mimebundle_() | bundle
        except ImportError:
            return bundle

    def __repr__(self):
        return f"Explorer({', '.join(f'{name}={value!r}' for name, value in self.values.items())})"
