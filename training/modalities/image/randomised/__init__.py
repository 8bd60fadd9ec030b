"""What is done to images at random, anew each time they are shown."""
