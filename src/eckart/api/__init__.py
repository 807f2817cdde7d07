"""What the package is in Python: fit, run, and estimators for scikit-learn."""
