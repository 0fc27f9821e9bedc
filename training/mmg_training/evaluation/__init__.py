"""The protocol of multimodal generalization: decisions of a checkpoint or a bundle, scores, tables and plots."""
