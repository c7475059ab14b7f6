"""The network as two files that run without this package: `init_template` and `step`.

Both take RGB pixels, uint8 [B, side, side, 3], in any batch size, and normalise them themselves;
weights are inside. `init_template` makes named arrays of `template`, to be passed on as they are
together with `search` to `step`, which gives `boxes` [B, 4] (cxcywh, in sides of the search crop)
and `scores` [B], calibrated where the checkpoint says how. What is cut out of a frame, and how
boxes go back, is the caller's part: `tracker.json` beside the two files has the sides and factors
of both crops.
"""
