"""Training, export and evidence of the pack `cxr-pneumonia`."""
