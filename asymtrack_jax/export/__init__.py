"""Export of the network as two programs that run without this package: `init_template`, `step`.

Both contain the weights, take RGB crops, uint8 [B, size, size, 3], of any batch size, and normalise
them. `init_template` maps `template` to named arrays; `step` takes these and `search`, and returns
`boxes` [B, 4] (cxcywh, in normalised coordinates of the search crop) and `scores` [B], calibrated
if the checkpoint has a calibration. Cropping frames and mapping boxes back to the frame are up to
the caller: `tracker.json` has the sizes and factors of both crops.
"""
