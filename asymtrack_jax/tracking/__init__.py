"""From frames and boxes to the network, and back."""
