"""The server: answers predictions for one revision and counts them."""
