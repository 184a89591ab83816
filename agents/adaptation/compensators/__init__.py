"""What to do about an estimated disturbance: generic, or a vehicle's own."""
