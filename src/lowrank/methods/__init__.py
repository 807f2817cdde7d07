"""Methods: one LightningModule each, on a stack of targets."""
