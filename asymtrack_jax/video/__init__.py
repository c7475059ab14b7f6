"""Video for people: sources, writers, drawing, and following targets from one to the other."""
