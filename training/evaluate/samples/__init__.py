"""What the samples of a model are worth: distances, precision and recall, trash."""
