"""The experiments that calibrate the measured exercises, one module a notebook."""
