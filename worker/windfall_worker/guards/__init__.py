"""What holds calls back, fleet-wide: circuit breakers, cool-downs, the retry budget."""
