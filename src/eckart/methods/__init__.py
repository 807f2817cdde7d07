"""One LightningModule for each method; a method trains a stack of targets."""
