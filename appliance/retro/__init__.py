"""What was delivered, by its hash, held against what is known today: in the admin process, away from the traffic path."""
