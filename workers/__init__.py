"""What only a worker imports: the road from a batch to a provider and back."""
