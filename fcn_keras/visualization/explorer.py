"""A figure with sliders, and a picture of the same figure for viewers that cannot show sliders."""

import base64
import inspect
import io


class Explorer:
    """A figure, and the sliders that change it.

    The output of a notebook cell contains both the sliders and a picture with the first values. JupyterLab shows the
    sliders. GitHub, the site and printed pages show the picture, and so does a computer without ipywidgets.

    Args:
        draw: Function from the values of the sliders to a Matplotlib `Figure`. The defaults of its arguments are the
            first values.
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
        """Returns an ipywidgets widget: the sliders, and the picture below them.

        Raises:
            ImportError: If ipywidgets is not installed.
        """
        import ipywidgets

        picture = ipywidgets.Image(value=self._draw_png(), format="png")
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
        """Returns the output of a cell: the widget for programs that can run it, and the picture for all others."""
        try:
            widget = self.make_widget()
            bundle, png = widget._repr_mimebundle_(), widget.children[-1].value
        except ImportError:
            bundle, png = {}, self._draw_png()
        return bundle | {"image/png": base64.b64encode(png).decode(), "text/plain": repr(self)}

    def __repr__(self):
        return f"Explorer({', '.join(f'{name}={value!r}' for name, value in self.values.items())})"
