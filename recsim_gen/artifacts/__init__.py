"""What is trained or drawn once and found again by its content: rankers, generators, images."""
