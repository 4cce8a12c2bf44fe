"""What a job will take, by short measurements and arithmetic."""
