"""Measure artefacts on devices, and fail a change that makes them slower or larger.

:func:`mfs_edge.measure.run.bench` is the whole job; ``runner.py`` is what travels to a device.
"""
