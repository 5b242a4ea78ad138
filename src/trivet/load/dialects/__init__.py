"""Ways of speaking to a server: what one row of inputs is as a request, and what an answer holds."""
