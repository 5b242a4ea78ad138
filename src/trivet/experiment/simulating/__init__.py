"""What a simulator needs of the real world: profiles, what the host costs, and its errors beside live runs."""
