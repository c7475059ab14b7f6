"""Colours of trackers in plots and pictures."""

COLOURS = (  # on white and on photographs, where green is the annotation's
    *("#e08a00", "#0a84d8", "#d6409f", "#7b4fd0", "#d93a2b", "#00a0a0", "#a0691a", "#777777"),
)
