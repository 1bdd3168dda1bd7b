"""Training of networks from arrays: dataset, augmentation, losses, metrics, fit. No file of pixels is opened here."""
