"""What a run is shown as: figures, calibration, and the live progress display."""
