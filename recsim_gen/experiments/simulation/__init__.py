"""What if people saw these pictures: rounds of a shop in which people choose by what they see."""
